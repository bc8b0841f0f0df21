"""The command for what is cached: cache."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from whatsit.apps.cli.options import Json
from whatsit.apps.cli.output import print_json
from whatsit.apps.terminal import out, table


def cache(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KIND...]", help="features, audit, networks or datasets; all by default."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove it, but for what running work uses.")] = False,
    as_json: Json = False,
) -> None:
    """Show what is kept to save work (computed features, downloads), where and up to which size, or remove it."""
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
    out("Remove: whatsit cache --clear, or of one kind: whatsit cache features --clear")


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
