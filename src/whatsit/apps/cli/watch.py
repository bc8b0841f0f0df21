"""`whatsit watch`: answer new pictures as they come."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whatsit.apps.cli.files import Copy, FileOptions, Link, Move, Sure, WatchInto
from whatsit.apps.cli.options import Model, Runtime
from whatsit.apps.cli.output import answer_line
from whatsit.apps.terminal import LineReporter, err, out, shell_word
from whatsit.errors import ImageError, UsageError
from whatsit.process import Stopped

if TYPE_CHECKING:
    from whatsit.runtime.watching import Told, Watched

To = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="WHATSIT_WATCH_TO",
        show_envvar=False,
        help="Post each answer there as JSON, again until it is taken. Or set WHATSIT_WATCH_TO, which other users cannot read.",
    ),
]
Rows = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Add a row for each answer to this file: .csv or .jsonl.")
]
Crops = Annotated[
    list[str] | None,
    typer.Option(
        metavar="X,Y,W,H",
        help="Answer this part instead of the whole picture: left, top, width, height in pixels, or with % in percent of the "
        "picture. Repeatable: each part is answered.",
    ),
]
Steady = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Post and print an answer when it comes N times in a row, and then none until it changes; for each folder below "
        "FOLDER on its own.",
    ),
]
Existing = Annotated[bool, typer.Option("--existing", help="At the first start, also answer what is there already.")]
Settle = Annotated[float, typer.Option(metavar="SECONDS", help="How long a file must rest before it is read.")]
GiveUp = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="After this long without a change, a file that cannot be read is an error."),
]
State = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Where what was answered is recorded; by default a file of this user for FOLDER."
    ),
]


def watch(
    model: Model,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder to watch, with those below it.")],
    to: To = None,
    csv: Rows = None,
    sort_into: WatchInto = None,
    copy: Copy = False,
    move: Move = False,
    link: Link = False,
    sure: Sure = None,
    crop: Crops = None,
    steady: Steady = 1,
    existing: Existing = False,
    settle: Settle = 0.5,
    give_up: GiveUp = 60.0,
    state: State = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes an answer names.")] = 5,
    runtime: Runtime = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an answer.")] = False,
) -> None:
    """Answer new pictures in a folder as they come, until Ctrl-C."""
    from whatsit.runtime.watching import Watched
    from whatsit.verbs.watch import watch

    FileOptions(csv, sort_into, copy, move, link, sure, undo=False, resume=False).are_asked()
    if model.startswith(("http://", "https://")):
        raise UsageError("whatsit watch needs the model's own file, not a service")
    done = Watched()
    try:
        watch(
            model,
            folder,
            to=to,
            table=csv,
            sort_into=sort_into,
            way="move" if move else "link" if link else "copy",
            sure=sure or 0.0,
            crops=crop or (),
            steady=steady,
            existing=existing,
            settle=settle,
            patience=give_up,
            state=state,
            top=top,
            runtime=runtime,
            told=lambda one: _print(one, as_json),
            done=done,
            reporter=LineReporter(),
        )
    except Stopped:
        _print_end(done, model, csv, sort_into)


def _print(one: Told, as_json: bool) -> None:
    """Print an answer, unless it is one more of a steady source."""
    if not one.is_new and not isinstance(one.found, ImageError):
        return
    if as_json:
        out(one.body())
    else:
        line = f"unreadable: {one.found}" if isinstance(one.found, ImageError) else answer_line(one.found)
        out(f"{one.time} {one.file}{f' [{one.crop}]' if one.crop else ''}: {line}")
    if sys.stdout is not None:
        sys.stdout.flush()  # a log, or another program, reads it now


def _print_end(done: Watched, model: str, csv: Path | None, sort_into: Path | None) -> None:
    answers = ", ".join(f"{label} {count:,}" for label, count in done.labels.most_common(8) if count)
    err(f"Stopped. Pictures answered: {done.images:,}{f' ({answers})' if answers else ''}; unreadable: {done.errors:,}")
    if done.undelivered:
        err(f"Not delivered yet: {done.undelivered:,} messages, which are kept and sent at the next start")
    if csv:
        err(f"Table: {csv}")
    if sort_into:
        command = f"whatsit predict {shell_word(model)} --sort-into {shell_word(sort_into)} --undo"
        err(f"Sorted into {sort_into}; {command} takes it back")
    err("Next: the same command continues; only what is new is answered")
