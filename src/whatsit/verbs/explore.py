"""`whatsit explore`: show what is in the data and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from whatsit.cache import working
from whatsit.errors import DataError, UsageError
from whatsit.evaluation.exploration import KINDS, Exploration, look_through
from whatsit.events import SILENT, Reporter
from whatsit.files import write_text
from whatsit.images.audit import audit
from whatsit.images.data import scan_data
from whatsit.images.edits import (
    Moved,
    apply_edits,
    in_force,
    move_aside,
    put_back,
    quarantine_folder,
    read_edits,
)
from whatsit.run.workspace import run_name

FOLDER = Path("explore")
BAD = ("unreadable", "duplicates", "conflicts")  # what --quarantine moves aside by default


@working()
def explore(
    data: str | Path,
    *,
    out: str | Path | None = None,
    quarantine: bool = False,
    kinds: Sequence[str] = BAD,
    reporter: Reporter = SILENT,
) -> tuple[Exploration, Path]:
    """Look through DATA, and write `explore.html` and `explore.json`.

    Args:
        data: as for `train`.
        out: the folder to write into; `explore/DATA` by default.
        quarantine: move bad files aside, into `DATA.quarantine` beside DATA; `undo` moves them back.
        kinds: which findings are bad, out of `KINDS`. Of a group the first picture stays, but for `conflicts`.
        reporter: gets progress and warnings.

    Returns:
        What was found, and the folder with the page.

    Raises:
        UsageError: there is no such data, or a kind is unknown.
        DataError: the data cannot be used.
        DiskError: nothing can be written.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise UsageError(f"unknown kind '{unknown[0]}'; allowed: {', '.join(KINDS)}")
    if quarantine:
        quarantine_folder(data)  # raises before the work where nothing can be moved
    on_disk = scan_data(data, reporter)
    edits = in_force(read_edits(data))
    dataset = apply_edits(on_disk, edits.values())
    audited = audit(dataset, reporter.stage("Looking at the pictures"))
    if not audited.pictures:
        name, reason = audited.unreadable[0]
        raise DataError(f"{data}: none of {len(audited.unreadable):,} pictures can be read, such as {name}: {reason}")
    settled = {image for image, _, _ in edits}
    found = look_through(dataset, audited, settled, on_disk.fingerprint(), reporter)
    found = replace(found, source=str(data))
    bad = found.bad(kinds) if quarantine else []
    folder = Path(out) if out else explore_folder(data)
    progress = reporter.stage("Writing the page")
    from whatsit.evaluation.exploration_page import render

    write_text(folder / "explore.html", render(found, dataset, audited, len(bad)))  # before pictures are moved
    if bad:
        found = replace(found, moved=move_aside(data, bad))
    write_text(folder / "explore.json", json.dumps(found.to_json(), ensure_ascii=False, indent=1) + "\n")
    progress(1, 1)
    return found, folder


def explore_folder(data: str | Path) -> Path:
    """Return the folder that `explore` writes into by default: `explore/DATA`."""
    return FOLDER / run_name(str(data), "").strip("-")


def undo(data: str | Path) -> list[Moved]:
    """Move the files that were moved aside back. Raises `UsageError` or `DataError`."""
    return put_back(data)
