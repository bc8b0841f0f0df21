"""SOURCE as the rows of a manifest, listed one by one.

SOURCE is a folder, a zip or tar, a folder or prefix of WebDataset tars, or a list of files (text, CSV or Parquet), each on disk
or in an object store. Classes and splits are those of a list's columns, of `.cls` files beside images in a tar, or of folders.
"""

from __future__ import annotations

import json
import os
import posixpath
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from whatsit.errors import DataError
from whatsit.images.csv_rows import read_rows
from whatsit.images.layout import Layout, find_layout, split_of
from whatsit.images.manifest import ImageRow, arrow, open_parquet
from whatsit.images.names import label_fault
from whatsit.images.places import Place, PlaceError, holds_secret, is_address, local_path, open_place
from whatsit.images.stores import ZipStore
from whatsit.images.walk import LeftOut, has_picture_ending

LISTS = (".csv", ".parquet", ".txt")
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_SMALL = 65536  # bytes of a file with a label, at most
_NAMES = ("uri", "path", "url", "name")  # columns of a Parquet list that may hold the address


@dataclass
class Listing:
    """The rows of a source, as often as they are asked for."""

    root: str  # the folder or address that relative addresses are below
    rows: Callable[[], Iterator[ImageRow]]
    left_out: LeftOut = field(default_factory=LeftOut)
    notes: list[str] = field(default_factory=list)


def list_source(source: str) -> Listing:
    """Return the rows of SOURCE; nothing but a list's kind is looked at yet.

    Raises:
        DataError: there is no such folder or file, or it is of another kind.
        UsageError, PlaceError: as `open_place`, and its methods, raise.
    """
    source = local_path(source)
    ending = posixpath.splitext(source)[1].lower()
    if source.lower().endswith(_PACKED):
        raise DataError(f"{source}: a compressed tar cannot be read in parts; unpack it, or make a plain .tar of it")
    if not is_address(source):
        path = Path(source)
        if path.is_dir():
            return _in_place(str(path.absolute()))
        if not path.is_file():
            raise DataError(f"{source}: there is no such folder, archive or list")
        if ending == ".zip":
            return _with_labels(_in_zip(path))
        source = str(path.absolute())
    elif ending == ".zip":
        raise DataError(f"{source}: a zip in an object store is not read in parts; make a plain .tar of it")
    elif ending not in (*LISTS, ".tar"):
        return _in_place(source.rstrip("/"))
    parent, name = source.rpartition("/")[::2] if is_address(source) else os.path.split(source)
    if ending == ".tar":
        return _with_labels(Listing(parent, lambda: _in_tar(open_place(parent), name)))
    if ending in LISTS:
        return _listed(parent, name, open_place(parent), ending)
    raise DataError(f"{source}: SOURCE must be a folder, a .zip or .tar, or a list ending in {', '.join(LISTS)}")


def _in_place(root: str) -> Listing:
    """Return the images below a folder or prefix, and in the tars there."""
    place = open_place(root)
    listing = Listing(root, lambda: _below(place, listing.left_out))
    return _with_labels(listing)


def _below(place: Place, left_out: LeftOut) -> Iterator[ImageRow]:
    left_out.kinds.clear()
    left_out.troubles.clear()
    for key, size in place.list(left_out):
        ending = posixpath.splitext(key)[1].lower()
        if has_picture_ending(key):
            yield ImageRow(key, size=size if size >= 0 else None)
        elif ending == ".tar":
            yield from _in_tar(place, key)
        else:
            left_out.kinds[f"{ending} files" if ending else "files without an ending"] += 1


def _in_zip(path: Path) -> Listing:
    store = ZipStore(path)
    left_out = LeftOut()

    def rows() -> Iterator[ImageRow]:
        left_out.kinds.clear()
        return (ImageRow(path.name, member=name) for name in store.pictures(left_out))

    return Listing(str(path.absolute().parent), rows, left_out, list(store.notes))


def _in_tar(place: Place, key: str) -> Iterator[ImageRow]:
    """Yield the images of a plain tar, with the labels beside them (WebDataset)."""
    where = f"{place.address}/{key}"
    try:
        with place.open(key) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            sample: list[ImageRow] = []
            label: str | None = None
            stem = None
            for member in archive:
                if not member.isreg() or member.issparse() or posixpath.basename(member.name).startswith("."):
                    continue
                name = member.name.removeprefix("./")
                here = posixpath.join(posixpath.dirname(name), posixpath.basename(name).partition(".")[0])
                if here != stem:
                    yield from (replace(row, label=label) for row in sample)
                    sample, label, stem = [], None, here
                if has_picture_ending(name):
                    sample.append(ImageRow(key, name, member.offset_data, member.size))
                elif name.endswith((".cls", ".json")) and member.size <= _SMALL:
                    label = _label_in(name, archive.extractfile(member)) or label
            yield from (replace(row, label=label) for row in sample)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{where}: the tar cannot be read, it may be compressed or cut short: {error}") from None
    except OSError as error:
        raise PlaceError(f"{where}: cannot be read: {error}") from None


def _label_in(name: str, file: IO[bytes] | None) -> str | None:
    """Return the class that a WebDataset file names, or None."""
    text = file.read(_SMALL).decode("utf-8", "replace").strip() if file else ""
    if name.endswith(".cls"):
        return text or None
    try:
        about = json.loads(text)
    except ValueError:
        return None
    found = about.get("label", about.get("cls")) if isinstance(about, dict) else None
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else None


def _with_labels(listing: Listing) -> Listing:
    """Return the listing with the classes and splits that its folders name.

    Where labels are there already, those stay.
    """
    folders: dict[str, str] = {}  # an image of each, which is enough to see the layout
    plain = listing.rows

    def rows() -> Iterator[ImageRow]:
        if not folders:
            named = False
            for row in plain():
                named = named or row.label is not None
                folders.setdefault(posixpath.dirname(row.member or row.uri), row.member or row.uri)
            layout = None if named or not folders else _layout(folders.values(), listing)
            listing.rows = lambda: _placed(plain(), layout) if layout else plain()
        return listing.rows()

    listing.rows = rows
    return listing


def _layout(names: Iterable[str], listing: Listing) -> Layout | None:
    try:
        layout = find_layout(names, listing.root)
    except DataError as error:
        listing.notes.append(f"the classes are left open, as the folders do not tell them: {error}")
        return None
    return layout


def _placed(rows: Iterable[ImageRow], layout: Layout) -> Iterator[ImageRow]:
    for row in rows:
        label, split = layout.place(row.member or row.uri) or (None, None)
        fault = label is None or label_fault(label.strip())
        yield row if fault else replace(row, label=label, split=split)


def _listed(root: str, name: str, place: Place, ending: str) -> Listing:
    """Return the rows of a list of files."""
    readers = {".csv": _of_csv, ".parquet": _of_parquet, ".txt": _of_text}

    def rows() -> Iterator[ImageRow]:
        count = 0
        for count, row in enumerate(readers[ending](root, name, place), 1):
            if is_address(row.uri) and holds_secret(row.uri):
                raise DataError(
                    f"{place.address}/{name}: row {count}: an address must hold no user, password or query; where they are "
                    f"needed, download the pictures first"
                )
            if row.split is not None and split_of(row.split) is None:
                raise DataError(
                    f"{place.address}/{name}: row {count}: the split '{row.split[:50]}' is unknown; allowed: train, "
                    f"validation, test, or none at all"
                )
            yield replace(row, split=split_of(row.split)) if row.split else row

    return Listing(root, rows)


def _of_csv(root: str, name: str, place: Place) -> Iterator[ImageRow]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(root, name)
        if is_address(root):
            path = Path(folder, "list.csv")
            path.write_bytes(place.read(name))
        try:
            for row in read_rows(path, addresses=True):
                yield ImageRow(row.path, label=row.label or None, split=row.split or None, group=row.group or None)
        except DataError as error:
            raise DataError(str(error).replace(str(path), f"{place.address}/{name}")) from None


def _of_text(root: str, name: str, place: Place) -> Iterator[ImageRow]:
    with place.open(name) as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig").strip()
            except UnicodeDecodeError:
                raise DataError(
                    f"{place.address}/{name}: line {number} is not in UTF-8; save the list as UTF-8"
                ) from None
            if text and not text.startswith("# "):
                yield ImageRow(text)


def _of_parquet(root: str, name: str, place: Place) -> Iterator[ImageRow]:
    pa = arrow()
    where = f"{place.address}/{name}"
    try:
        with place.open(name) as opened:
            file = open_parquet(opened)
            there = set(file.schema_arrow.names)
            column = next((one for one in _NAMES if one in there), None)
            if column is None:
                raise DataError(
                    f"{where}: none of the columns {', '.join(_NAMES)} is there, which would say where the images are"
                )
            others = [one for one in ("label", "split", "group") if one in there]
            for one in (column, *others):
                _require_text(pa, file.schema_arrow.field(one), where, number=one != column)
            for batch in file.iter_batches(columns=[column, *others], use_threads=False):
                for cells in batch.to_pylist():
                    known = {one: _text(cells[one]) for one in others}
                    label, split, group = (known.get(one) for one in ("label", "split", "group"))
                    if not cells[column]:
                        raise DataError(f"{where}: the column '{column}' is empty in some row")
                    yield ImageRow(cells[column], label=label, split=split, group=group)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where}: the Parquet file cannot be read: {error}") from None


def _require_text(pa: Any, column: Any, where: str, *, number: bool) -> None:
    """Raise `DataError` where a column holds no text; a label may be a `number`."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or (number and pa.types.is_integer(kind))):
        raise DataError(
            f"{where}: the column '{column.name}' holds {column.type}; it must hold text{' or whole numbers' if number else ''}"
        )


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)
