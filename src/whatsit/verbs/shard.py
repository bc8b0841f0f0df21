"""`whatsit shard`: cut a long list of images into shards."""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from whatsit.errors import DataError, UsageError
from whatsit.events import SILENT, Reporter
from whatsit.images.cut import Listing, list_source
from whatsit.images.manifest import NAME, SHARD_ROWS, ImageRow, arrow, holds_manifest, write_manifest
from whatsit.images.places import FolderPlace, Place, absolute, open_place
from whatsit.images.walk import describe

MOST_ROWS = 1_000_000  # of a shard, as it is held in memory


@dataclass(frozen=True)
class Sharded:
    """A manifest that was written."""

    manifest: str  # its address
    images: int
    shards: int


def shard(source: str | Path, out: str | Path, *, rows: int = SHARD_ROWS, reporter: Reporter = SILENT) -> Sharded:
    """List the images of SOURCE in order, and write `OUT/manifest.parquet`.

    Args:
        source: see `images/cut.py`. Nothing is copied: the manifest says where the images are.
        out: a folder or an address.
        rows: images of a shard, which is the unit of work and of what is lost with a worker.
        reporter: of progress.

    Raises:
        UsageError: `rows` is out of range, or `out` holds a manifest already.
        DataError: SOURCE holds no images, or cannot be used.
        PlaceError, DiskError: a place cannot be read or written.
    """
    if not 1 <= rows <= MOST_ROWS:
        raise UsageError(f"the images of a shard must be 1 to {MOST_ROWS:,}; received {rows}")
    place = _checked(str(source), str(out))
    listing = list_source(str(source))
    count = 0
    advance = reporter.stage("Listing the pictures")

    def counted() -> Iterator[ImageRow]:
        nonlocal count
        for row in _writable(listing):
            count += 1
            if count % 1000 == 0:
                advance(count, 0)
            yield row
        if not count:
            skipped = f"; skipped: {describe(listing.left_out.kinds)}" if listing.left_out.kinds else ""
            raise DataError(f"{source}: no pictures found{skipped}")

    _write(counted(), place, listing.root, rows, absolute(str(source)))
    if listing.left_out.kinds:
        reporter.say(f"Skipped: {describe(listing.left_out.kinds)}")
    for note in (*listing.left_out.sentences(), *listing.notes):
        reporter.warn(note)
    return Sharded(f"{place.address}/{NAME}", count, -(-count // rows))


def _write(rows: Iterator[ImageRow], place: Place, root: str, shard_rows: int, source: str) -> None:
    """Write the manifest into a place.

    Raises `UsageError` where one was made meanwhile.
    """
    if isinstance(place, FolderPlace):
        path = place.beside(NAME)
        write_manifest(rows, path, root, shard_rows, source)
        is_mine = place.adopt(path, NAME)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, NAME)
            write_manifest(rows, path, root, shard_rows, source)
            is_mine = place.write_new(NAME, path.read_bytes())
    if not is_mine:
        raise UsageError(f"{place.address}: another process made a {NAME} there meanwhile; give another folder")


def _writable(listing: Listing) -> Iterator[ImageRow]:
    """Yield the rows whose names can be written down; any bytes may name a file."""
    for row in listing.rows():
        try:
            row.name.encode()
            yield replace(row, label=unicodedata.normalize("NFC", row.label.strip()) or None) if row.label else row
        except UnicodeEncodeError:
            listing.left_out.kinds["files whose names are not in UTF-8"] += 1


def _checked(source: str, out: str) -> Place:
    """Return the place of the manifest. Raises as `shard` does."""
    if not source.strip():  # `Path` would take it for the current folder
        raise UsageError("SOURCE is empty; give a folder, an archive, a list or an address")
    arrow()
    place = open_place(out)
    if holds_manifest(out):
        raise UsageError(f"{place.address}: there is a {NAME} already; give another folder, or remove it")
    if absolute(source) == absolute(out):
        raise UsageError(f"{out}: the manifest must lie outside of the pictures; give another folder for --out")
    return place
