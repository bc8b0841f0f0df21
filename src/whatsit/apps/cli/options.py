"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DATA = typer.Argument(
    metavar="DATA",
    help="A folder of class folders (optionally below train/, validation/, test/), a zip or tar of one, a CSV with "
    "path,label[,split][,group], or: digits, cifar10, cifar100, mnist, fashion-mnist, cats-vs-dogs.",
)
Data = Annotated[str, DATA]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A .whatsit file or a run folder.")]
RunData = Annotated[
    str | None, typer.Option("--data", help="Where the pictures of the run are now; by default where they were.")
]
Costs = Annotated[
    Path | None,
    typer.Option(
        help="A TOML file with the prices of mistakes: the class that costs least is answered; see docs/how-to/costs.md."
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", help="The folder to make; runs/DATA-RECIPE or runs/DATA-tune by default.")
]
Backbone = Annotated[
    str | None,
    typer.Option(
        help="efficientnet-lite0, efficientnet-lite2, mobilenetv2, vgg16, resnet50, or an .onnx file (docs/how-to/backbones.md), "
        "instead of the recipe's."
    ),
]
Weights = Annotated[str | None, typer.Option(help="Of the backbone: auto (ImageNet), none (random), or a path.")]
Seed = Annotated[int | None, typer.Option(help="Of the split, of training and of a search.")]
Limit = Annotated[int | None, typer.Option(help="The most pictures of each class, for a quick trial.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value, instead of the recipe's, such as split=80/10/10; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]
Runtime = Annotated[str, typer.Option(help="auto, openvino or onnxruntime.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes on this machine, for a manifest's pictures; one a processor by default."),
]
TrialWorkers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes on this machine that run trials; else this one does.")
]
TrialRay = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Run the trials on the machines of this Ray cluster instead."),
]
Ray = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Work on a manifest's pictures on the machines of this Ray cluster instead."),
]
