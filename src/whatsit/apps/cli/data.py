"""The command that looks at data: explore."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from whatsit.apps.cli.output import print_json
from whatsit.apps.terminal import TerminalReporter, out, table
from whatsit.errors import UsageError


def explore(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for train.")],
    out_: Annotated[
        Path | None, typer.Option("--out", help="The folder to write into; explore/DATA by default.")
    ] = None,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Move bad files aside, into DATA.quarantine; nothing is deleted.")
    ] = False,
    kinds: Annotated[
        str | None,
        typer.Option(
            metavar="KIND[,KIND]",
            help="What is bad for --quarantine: by default unreadable, duplicates (but for the first), conflicts; also near, "
            "label, dark, bright, blurred, odd, tiny, grey.",
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Put back what was moved aside.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")] = False,
) -> None:
    """Show what is in the data and what is wrong with it: a page with the pictures, and JSON."""
    from whatsit.images.edits import quarantine_folder
    from whatsit.verbs import explore as verb

    if undo:
        if quarantine or kinds:
            raise UsageError("--undo goes alone")
        back = verb.undo(data)
        if as_json:
            print_json({"moved_back": [vars(one) for one in back]})
        else:
            out(f"{len(back):,} files are back in {data}; look again with: whatsit explore {shlex.quote(data)}")
        return
    if kinds and not quarantine:
        raise UsageError("--kinds goes with --quarantine")
    with TerminalReporter() as reporter:
        wanted = [kind.strip() for kind in kinds.split(",")] if kinds else verb.BAD
        found, folder = verb.explore(data, out=out_, quarantine=quarantine, kinds=wanted, reporter=reporter)
    if as_json:
        print_json({**found.to_json(), "page": str(folder / "explore.html")})
        return
    _print(found)
    out()
    if found.moved:
        out(
            f"{len(found.moved):,} files were moved into {quarantine_folder(data)}; "
            f"put them back with: whatsit explore {shlex.quote(data)} --undo"
        )
    out(
        f"Next: open {folder / 'explore.html'} in a browser, or put labels right: whatsit app --data {shlex.quote(data)}"
    )


def _print(found: object) -> None:
    from whatsit.evaluation.exploration import GROUPS, SINGLE, Exploration

    assert isinstance(found, Exploration)
    labels = found.by_label()
    most, least = max(labels.values()), min(labels.values())
    classes = f"{len(labels):,} classes" if len(labels) > 1 else "1 class"
    out(f"{found.total:,} pictures in {classes}, {least:,} to {most:,} in each")
    for note in found.notes:
        out(f"Note: {note}")
    rows = [
        (kind, f"{len(some):,}", f"{some[0].images[0]}: {some[0].reason}")
        for kind in ("label", *reversed(GROUPS), *SINGLE)
        if (some := found.of(kind))
    ]
    if rows:
        out()
        table(("finding", "how many", "such as"), rows)
    else:
        out("Nothing was found that needs a look.")
