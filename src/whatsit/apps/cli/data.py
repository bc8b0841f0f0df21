"""The commands about data and what is cached of it: explore, cache."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from whatsit.apps.cli.options import Json
from whatsit.apps.cli.output import print_json
from whatsit.apps.terminal import TerminalReporter, out, shell_word, table
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
    """Show what is in the data and what is wrong with it.

    The result is a page with the pictures, and JSON.
    """
    from whatsit.images.edits import quarantine_folder
    from whatsit.verbs import explore as verb

    if undo:
        if quarantine or kinds:
            raise UsageError("--undo goes alone")
        back = verb.undo(data)
        if as_json:
            print_json({"moved_back": [vars(one) for one in back]})
        else:
            out(f"{len(back):,} files are back in {data}; look again with: whatsit explore {shell_word(data)}")
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
            f"put them back with: whatsit explore {shell_word(data)} --undo"
        )
    out(
        f"Next: open {folder / 'explore.html'} in a browser, or put labels right: whatsit app --data {shell_word(data)}"
    )


def _print(found: object) -> None:
    from whatsit.evaluation.exploration import GROUPS, SINGLE, Exploration

    assert isinstance(found, Exploration)
    labels = found.by_label()
    most, least = max(labels.values()), min(labels.values())
    classes = f"{len(labels):,} classes" if len(labels) > 1 else "1 class"
    unreadable = len(found.of("unreadable"))
    files = f"{found.total + unreadable:,} files, of which {unreadable:,} cannot be read: " if unreadable else ""
    each = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    out(f"{files}{found.total:,} pictures in {classes}, {each} in each")
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


def cache(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KIND...]", help="features, audit, networks or datasets; all by default."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove it, but for what running work uses.")] = False,
    as_json: Json = False,
) -> None:
    """Show or remove the cache: computed features and downloads.

    Without an option it prints where they are, their size and the limit.
    """
    from whatsit import cache as kept

    wanted = kept.known_kinds(kinds or ())
    if clear:
        removed = kept.clear(wanted)
        if as_json:
            print_json({"folder": str(kept.cache_folder()), **vars(removed)})
            return
        out(f"Removed {_files(removed.files)} ({_size(removed.bytes)}) from {kept.cache_folder()}")
        if removed.files_in_use:
            out(
                f"{_files(removed.files_in_use)} ({_size(removed.bytes_in_use)}) stay: running work uses them, or they cannot be "
                "removed; run the same command again later"
            )
        return
    rows = [row for row in kept.contents() if row.kind in wanted]
    limit = kept.cache_limit()
    if as_json:
        about = [{**vars(row), "used": _time(row.used).isoformat() if row.used is not None else None} for row in rows]
        print_json({"folder": str(kept.cache_folder()), "limit": limit, "kinds": about})
        return
    table(
        ("kind", "files", "size", "last used", ""),
        [(row.kind, f"{row.files:,}", _size(row.bytes), _day(row.used), kept.KINDS[row.kind]) for row in rows],
    )
    out()
    out(f"Folder: {kept.cache_folder()} (another one: set WHATSIT_CACHE)")
    out(
        f"Limit:  {_size(limit)} for all but {', '.join(kept.DOWNLOADED)} (another one: set {kept.LIMIT_VARIABLE}, such as 2GB); "
        "what was used longest ago is removed first"
    )
    out("Next: whatsit cache --clear removes it, or of one kind: whatsit cache features --clear")


def _files(count: int) -> str:
    return f"{count:,} file{'s' if count != 1 else ''}"


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _day(seconds: float | None) -> str:
    return "never" if seconds is None else f"{_time(seconds).astimezone():%Y-%m-%d %H:%M}"
