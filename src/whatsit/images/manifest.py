"""Manifests: long lists of images, cut into shards once.

A manifest is one Parquet file. A shard is a row group, so that the plan of ten million images is in the file's last bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from whatsit.errors import DataError, needing
from whatsit.files import replacing
from whatsit.images.places import MissingFileError, Place, is_address, local_path, open_place

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "manifest.parquet"
FORMAT = 1
SHARD_ROWS = 2000  # images of a shard: seconds of work, and what is made again where a worker is lost
_KEY = b"whatsit"


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image of a manifest, and where its bytes are."""

    uri: str  # of the file, relative to the manifest's root, or whole
    member: str | None = None  # its name in the archive that the file is
    offset: int | None = None  # of its bytes in the file, where they lie there as they are
    size: int | None = None  # bytes; None where not known
    label: str | None = None
    split: str | None = None  # train, validation or test
    group: str | None = None

    @property
    def name(self) -> str:
        """Return what to call it."""
        return f"{self.uri}/{self.member}" if self.member else self.uri


def arrow() -> Any:
    """Return pyarrow. Raises `MissingExtraError`."""
    with needing("work in shards", "scale", "pyarrow"):
        import pyarrow
        import pyarrow.parquet
    return pyarrow


def open_parquet(file: IO[bytes], metadata: Any = None) -> Any:
    """Open a Parquet file without threads of pyarrow's.

    Those are sometimes still at work when Python ends, which aborts the process. Read with `use_threads=False`, too.
    """
    return arrow().parquet.ParquetFile(file, metadata=metadata, pre_buffer=False)


def _schema() -> pa.Schema:
    pa = arrow()
    integers = ("offset", "size")
    return pa.schema([(one.name, pa.int64() if one.name in integers else pa.string()) for one in fields(ImageRow)])


def write_manifest(
    rows: Iterable[ImageRow], path: Path, root: str, shard_rows: int = SHARD_ROWS, source: str = ""
) -> int:
    """Write a manifest whole or not at all, and return the number of its rows.

    Args:
        rows: the images, in order; at most a shard of them is in memory.
        path: of the file.
        root: the folder or address that relative addresses are below.
        shard_rows: images of a shard.
        source: what was listed, absolute.

    Raises `DiskError`.
    """
    pa = arrow()
    schema = _schema()
    total, hashes = 0, []
    with replacing(path) as file, pa.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for lot in _lots(rows, shard_rows):
            total += len(lot)
            hashes.append(_hash(lot))
            columns = list(zip(*map(astuple, lot), strict=True))
            arrays = [pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=shard_rows)
        about = {"format": FORMAT, "root": root, "source": source, "shards": hashes}
        writer.add_key_value_metadata({_KEY.decode(): json.dumps(about)})
    return total


def _lots(rows: Iterable[ImageRow], size: int) -> Iterator[list[ImageRow]]:
    lot: list[ImageRow] = []
    for row in rows:
        lot.append(row)
        if len(lot) == size:
            yield lot
            lot = []
    if lot:
        yield lot


def _hash(rows: Sequence[ImageRow]) -> str:
    return hashlib.sha256(json.dumps([astuple(row) for row in rows]).encode()).hexdigest()[:24]


class Manifest:
    """A manifest that was cut; only its plan is in memory."""

    def __init__(self, place: Place) -> None:
        """Read the plan. Raises `DataError` for what is no manifest, `PlaceError`."""
        self.address = f"{place.address}/{NAME}"
        self._place = place
        pa = arrow()
        try:
            with place.open(NAME) as file:
                opened = open_parquet(file)
                self._plan, is_ours = opened.metadata, opened.schema_arrow.equals(_schema())
            about = json.loads((self._plan.metadata or {})[_KEY])
            form, self.root, self._hashes = about["format"], str(about["root"]), list(about["shards"])
            self.source = str(about["source"])
        except MissingFileError:
            raise DataError(
                f"{place.address}: there is no {NAME}; make it with: whatsit shard SOURCE --out {place.address}"
            ) from None
        except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
            raise DataError(
                f"{self.address}: this is no manifest of whatsit, or a damaged one ({type(error).__name__}); make it "
                f"again with: whatsit shard SOURCE --out {place.address}"
            ) from None
        if form != FORMAT:
            raise DataError(f"{self.address}: its format {form} is not read by this whatsit; install a newer one")
        counts = [self._plan.row_group(shard).num_rows for shard in range(self._plan.num_row_groups)]
        if len(counts) != len(self._hashes) or not is_ours:
            raise DataError(f"{self.address}: was changed since it was cut; make it again with: whatsit shard")
        self.counts = counts  # images of each shard
        self.identity = hashlib.sha256("\n".join([self.root, *self._hashes]).encode()).hexdigest()[:32]

    def __len__(self) -> int:
        return sum(self.counts)

    def shard(self, number: int) -> list[ImageRow]:
        """Return the rows of a shard.

        Raises `DataError` where they were changed since they were cut.
        """
        pa = arrow()
        try:
            with self._place.open(NAME) as file:
                table = open_parquet(file, self._plan).read_row_group(number, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.address}: shard {number} cannot be read: {error}") from None
        rows = [ImageRow(*values) for values in zip(*(column.to_pylist() for column in table.columns), strict=True)]
        if _hash(rows) != self._hashes[number]:
            raise DataError(f"{self.address}: shard {number} was changed since it was cut; make the manifest again")
        return rows

    def rows(self) -> Iterator[ImageRow]:
        """Yield all rows, a shard at a time."""
        for number in range(len(self.counts)):
            yield from self.shard(number)


def holds_manifest(place: str) -> bool:
    """Return whether there is a manifest in a place. Raises `PlaceError`."""
    path = local_path(place)
    try:
        if is_address(path):
            with open_place(path).open(NAME) as file:
                return _is_ours(file)
        with Path(path, NAME).open("rb") as file:
            return _is_ours(file)
    except (OSError, ValueError, MissingFileError):  # none, or no usable path
        return False


def _is_ours(file: IO[bytes]) -> bool:
    """Return whether a Parquet file's footer has the mark of a manifest."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 8, 0))
    length = int.from_bytes(file.read(8)[:4], "little")
    if not 0 < length <= size - 12:
        return False
    file.seek(size - 8 - length)
    return _KEY in file.read(length)
