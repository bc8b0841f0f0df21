"""Commands that start an app for people: app, gradio."""

from __future__ import annotations

from typing import Annotated

import typer

from whatsit.apps.cli.options import Runtime
from whatsit.apps.cli.starting import until_stopped
from whatsit.apps.terminal import out
from whatsit.errors import UsageError, needing

RootPath = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Below which a reverse proxy shows it, such as /pets, or the whole address: https://example.org/pets.",
    ),
]

TrainingPictures = Annotated[
    bool,
    typer.Option(
        "--training-pictures",
        help="Show visitors from other computers, too, the training pictures that theirs look like. On this computer they are.",
    ),
]


def web_app(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL...", help=".whatsit files, run folders, or folders of either."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Also a page to look through DATA and put their labels right.")
    ] = None,
    teach: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Also a page to teach new kinds, with pictures kept in this folder."),
    ] = None,
    feedback: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Keep pictures that people mark as wrong, and those the model is unsure of, as new DATA.",
        ),
    ] = None,
    training_pictures: TrainingPictures = False,
    label: Annotated[
        str | None,
        typer.Option(metavar="PICTURES", help="Also a page to label, by keys, what the model suggests of this folder."),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="With --label: copy labelled pictures into class folders here, not PICTURES-labelled."
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="The address to serve on; 127.0.0.1, this computer only, by default.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="8501 or the next free one by default.")] = None,
    root_path: RootPath = None,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
) -> None:
    """Start the web app.

    It has pictures, the live camera, the model's metrics, teaching, labelling, and corrections of DATA.
    """
    if not models and data is None and teach is None:
        raise UsageError(
            "give a MODEL, --teach DIR or --data DATA, such as: whatsit app runs/photos-fast --data photos"
        )
    if label is not None and not models:
        raise UsageError("--label needs the MODEL that suggests what to label: whatsit app MODEL --label PICTURES")
    if into is not None and label is None:
        raise UsageError("--into needs --label PICTURES")
    with needing("the web app", "app"):
        from whatsit.apps.streamlit_app.labelling import Labelling
        from whatsit.apps.streamlit_app.server import run
    with until_stopped("The app"):
        run(
            models or [],
            data=data,
            feedback=feedback,
            teach=teach,
            training_pictures=training_pictures,
            labelling=None if label is None else Labelling(label, into),
            host=host,
            port=port,
            root_path=root_path,
            browser=browser,
            say=out,
        )


def gradio(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A .whatsit file or a run folder.")],
    host: Annotated[
        str | None, typer.Option(help="The address to serve on; 127.0.0.1, this computer only, by default.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="7860 or the next free one by default.")] = None,
    root_path: RootPath = None,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
    runtime: Runtime = "auto",
    training_pictures: TrainingPictures = False,
) -> None:
    """Start the Gradio app: a picture, the live camera, many pictures.

    It also answers gradio_client.
    """
    with needing("the Gradio app", "gradio"):
        from whatsit.apps.gradio_app.server import run
    with until_stopped("The app"):
        run(
            model,
            host=host,
            port=port,
            root_path=root_path,
            browser=browser,
            runtime=runtime,
            training_pictures=training_pictures,
            say=out,
        )
