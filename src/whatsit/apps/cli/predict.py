"""Commands that answer for pictures: predict, explain, similar, suggest."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from whatsit.apps.cli.files import Copy, FileOptions, Link, Move, Resume, SortInto, Sure, TableFile, Undo
from whatsit.apps.cli.options import Json, Model, Ray, Runtime, Workers
from whatsit.apps.cli.output import answer_line, print_json, probability_words
from whatsit.apps.cli.shards import predict_into
from whatsit.apps.client import Client
from whatsit.apps.terminal import LineReporter, TerminalReporter, err, out, shell_word, table
from whatsit.errors import ImageError, UsageError


def predict(
    model: Model,
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE...", help="Pictures, folders or globs.", show_default=False)
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to name in --json.")] = 5,
    coverage: Annotated[
        float | None,
        typer.Option(help="Also name the set of classes that holds the true one with this probability, such as 0.95."),
    ] = None,
    runtime: Runtime = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a picture; with --out, one in all.")
    ] = False,
    out_: Annotated[
        str | None,
        typer.Option(
            "--out",
            help="Write the answers as Parquet files into this folder or address instead, a shard each; what is there is not "
            "made again. IMAGE is the place of a manifest (whatsit shard), or anything of which one can be made.",
        ),
    ] = None,
    workers: Workers = None,
    ray: Ray = None,
    shard: Annotated[
        str | None,
        typer.Option(help="With --out: make only every n-th shard, i/n with i from 0, on one of n machines."),
    ] = None,
    csv: TableFile = None,
    sort_into: SortInto = None,
    copy: Copy = False,
    move: Move = False,
    link: Link = False,
    sure: Sure = None,
    undo: Undo = False,
    resume: Resume = False,
) -> None:
    """Say what is in pictures, a line each; or in a table; or sort the files."""
    files = FileOptions(csv, sort_into, copy, move, link, sure, undo, resume)
    is_service = model.startswith(("http://", "https://"))
    if not images and not undo:
        raise UsageError("IMAGE is missing; give pictures, folders or globs")
    images = images or []
    if out_ is not None:
        if len(images) != 1 or coverage is not None:
            raise UsageError("--out takes one manifest or source of pictures, and no --coverage")
        if files.are_asked():
            raise UsageError("--out excludes --csv and --sort-into; whatsit answers ANSWERS --csv FILE makes a table")
        if is_service:
            raise UsageError(
                "--out needs the model's own file, as every worker opens it; leave it out to ask a service"
            )
        predict_into(model, images[0], out_, workers, ray, shard, top, runtime, as_json)
        return
    if given := [
        name for name, value in (("--workers", workers), ("--ray", ray), ("--shard", shard)) if value is not None
    ]:
        raise UsageError(f"{given[0]} needs --out, the place of the answers")

    source = _service(model, runtime) if is_service else model
    if files.are_asked():
        files.predict(source, images, top, coverage, runtime, as_json=as_json)
        return
    _print_each(source, images, top, coverage, runtime, as_json)


def _print_each(
    source: str | Client, images: list[str], top: int, coverage: float | None, runtime: str, as_json: bool
) -> None:
    """Print a line or an object for each picture; the exit code is 1 if any failed."""
    from whatsit.verbs.predict import predict

    failed = 0
    for name, answer in predict(source, images, top=top, coverage=coverage, runtime=runtime, reporter=LineReporter()):
        if isinstance(answer, ImageError):
            failed += 1
            if as_json:
                print_json({"image": name, "error": str(answer)})
            else:
                err(f"whatsit: {name}: {answer}")
        elif as_json:
            print_json({"image": name, **answer.to_json()})
        else:
            out(f"{name}: {answer_line(answer)}")
    if failed:
        sys.exit(1)


def explain(
    model: Model,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A picture.")],
    out_: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file to write; NAME-explained.png in the current folder by default."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="The class to explain; the most probable one by default.")] = None,
    runtime: Runtime = "auto",
    as_json: Json = False,
) -> None:
    """Show where in a picture the evidence for its class lies.

    By Grad-CAM, or for a network without class maps by hiding each part in turn.
    """
    from whatsit.verbs.explain import explain

    explanation, path = explain(model, image, out_, label=label, runtime=runtime)
    if as_json:
        about = {
            "explained": explanation.label,
            "evidence": explanation.evidence.round(4).tolist(),
            "method": explanation.method,
            "drawing": str(path),
        }
        print_json({"image": image, **explanation.prediction.to_json(), **about})
        return
    out(f"{image}: {answer_line(explanation.prediction)}")
    if explanation.label != explanation.prediction.label:
        out(f"Shown is what speaks for {explanation.label} ({probability_words(explanation.probability)})")
    out(f"Drawing: {path}")
    out(f"Next: whatsit similar {shell_word(model)} {shell_word(image)} FOLDER, the pictures that look most like it")


def similar(
    model: Model,
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="A picture.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Pictures, folders or globs to search.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many to show.")] = 10,
    runtime: Runtime = "auto",
    as_json: Json = False,
) -> None:
    """Find the pictures that look most like one."""
    from whatsit.verbs.similar import similar

    with TerminalReporter() as reporter:
        found = similar(model, picture, images, count=count, runtime=runtime, reporter=reporter)
    if as_json:
        print_json([vars(one) for one in found])
        return
    table(("similarity", "picture"), [(f"{one.similarity:.3f}", one.image) for one in found])
    out()
    out(f"Next: whatsit explain {shell_word(model)} {shell_word(picture)}, to see where the model looks")


def suggest(
    model: Model,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Unlabelled pictures, folders or globs.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many to suggest.")] = 50,
    labelled: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A folder of pictures that have a label since: they are left out too."),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write them into this new file: .csv, .jsonl or .parquet."),
    ] = None,
    copy_to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy them into a folder of the class that the model takes each for, here."),
    ] = None,
    runtime: Runtime = "auto",
    as_json: Json = False,
) -> None:
    """Say which of many pictures to label next: those that teach the model most.

    A varied batch of what it is unsure of or does not know, one of each group of look-alikes. Pictures of the model's own data
    are left out.
    """
    from whatsit.verbs.suggest import suggest

    with TerminalReporter() as reporter:
        found = suggest(
            model,
            images,
            count=count,
            labelled=labelled,
            table=csv,
            copy_to=copy_to,
            runtime=runtime,
            reporter=reporter,
        )
    if as_json:
        about = {"images": found.images, "labelled": found.labelled, "errors": found.errors}
        print_json({"suggestions": [one.to_json() for one in found.pictures], **about})
        return
    rows = [
        (one.image, one.prediction.label, probability_words(one.prediction.probability), one.why)
        for one in found.pictures
    ]
    table(("picture", "its guess", "probability", "why"), rows)
    out()
    left = f"; {found.labelled:,} more have a label already" if found.labelled else ""
    out(f"{len(found.pictures):,} of {found.images:,} pictures{left}")
    if csv:
        out(f"Table: {csv}")
    if copy_to:
        out(
            f"Next: put right what lies in the wrong folder of {copy_to}, add these pictures to your data, and train again"
        )
    else:
        out(f"Next: label them with the keyboard: whatsit app {model} --label {images[0]}")


def _service(url: str, runtime: str) -> Client:
    """Return the client of a service, with the key in the environment."""
    if runtime != "auto":
        raise UsageError("--runtime is the service's own choice; leave it out where MODEL is an address")
    return Client(url, key=os.environ.get("WHATSIT_API_KEY"))
