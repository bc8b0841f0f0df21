"""`whatsit answers`: what the answers of `whatsit predict --out` say in sum."""

from __future__ import annotations

import io
import os
from pathlib import Path

from whatsit.errors import UsageError
from whatsit.files import replacing
from whatsit.images.places import FolderPlace, MissingFileError, Place, is_address, open_place
from whatsit.scale.answers import Summary, summarize


def answers(place: str | Path, csv: str | Path | None = None) -> Summary:
    """Add up the answers in a place; `csv` is a file to write them into, a row each.

    Raises:
        UsageError: the place holds no answers.
        DataError, PlaceError, DiskError: a place cannot be read or written.
    """
    found = open_place(place)
    if csv is not None:
        _require_outside(os.fspath(csv), found)
    try:
        if csv is None:
            return summarize(found)
        with replacing(Path(os.fspath(csv))) as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", write_through=True)
            summary = summarize(found, text)
            text.detach()
            return summary
    except MissingFileError:
        raise UsageError(
            f"{found.address}: holds no answers; make them with: whatsit predict MODEL SOURCE --out {found.address}"
        ) from None


def _require_outside(csv: str, place: Place) -> None:
    """Raise `UsageError` where the CSV is no file on disk, or is among the answers."""
    if not csv.strip() or is_address(csv):
        raise UsageError(f"--csv must be a file on disk; received '{csv[:100]}'")
    path = Path(os.path.abspath(csv))  # noqa: PTH100 - links stay
    if (
        isinstance(place, FolderPlace)
        and path.parent == place.folder.absolute()
        and path.suffix in (".parquet", ".json")
    ):
        raise UsageError(f"--csv {csv[:100]}: lies among the answers; give a file elsewhere")
