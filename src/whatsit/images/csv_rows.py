"""Rows of a CSV file that lists images, from any program.

Accepted are: UTF-8 with or without a byte-order mark, UTF-16 (Excel's "Unicode text"); commas, semicolons, tabs and bars; the
line `sep=;` that Excel reads; any line ends; rows of nothing but separators; paths with backslashes, absolute ones and `file://`
addresses; names that are spelt in another Unicode form, or in other capitals, than the file on disk.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from whatsit.errors import DataError
from whatsit.files import from_spreadsheet
from whatsit.images.places import is_address
from whatsit.images.walk import list_folder

_DELIMITERS = ",;\t|"
_SEPARATOR_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)
_ADDRESS = re.compile(r"(file):(?=/)|([a-z][a-z0-9+.-]+):(?=//)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """A row: the image's name as it is stored, and the other cells, stripped."""

    where: str  # such as `line 12`
    path: str  # relative to the folder of the CSV, or absolute, with `/`
    label: str
    split: str
    group: str


def read_rows(path: Path, *, addresses: bool = False) -> Iterator[Row]:
    """Yield the rows of a CSV file, in order.

    Its columns are `path,label[,split][,group]`; others are ignored. With `addresses`, `path` may be an address of an object
    store or of the web, and the label may be missing.

    Raises:
        DataError: the file cannot be read, lacks a column, or a row has no path, an address of the web, or too many cells.
    """
    text = _text(path)
    lines = io.StringIO(text, newline=None)
    try:
        delimiter, before = _delimiter(lines)
        rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        columns = [cell.strip().lower() for cell in next(rows, [])]
        missing = [column for column in ("path", "label")[: 1 if addresses else 2] if column not in columns]
        if missing:
            found = ", ".join(columns)[:200] or "none"
            quoted = " and ".join(f"'{column}'" for column in missing)
            what = f"the column {quoted} is" if len(missing) == 1 else f"the columns {quoted} are"
            how = f"rename columns in the first line, or add that line: {'path' if addresses else 'path,label'}"
            raise DataError(f"{path}: {what} missing; columns found: {found}; {how}")
        names = _Names(path.parent)
        for cells in rows:
            if not any(cell.strip() for cell in cells):
                continue  # spreadsheets write such rows below a table
            where = f"line {rows.line_num + before}"
            if any(cell.strip() for cell in cells[len(columns) :]):
                raise DataError(
                    f"{path}: {where}: there are more cells than columns ({', '.join(filter(None, columns))}); a cell with a "
                    f"{'comma' if delimiter == ',' else 'separator'} in it must stand in double quotes"
                )
            row = dict(zip(columns, (from_spreadsheet(cell.strip()) for cell in cells), strict=False))
            cell = row.get("path", "")
            is_web = addresses and is_address(cell)
            name = cell if is_web else names.stored(_local_path(cell, f"{path}: {where}"))
            yield Row(where, name, row.get("label", ""), row.get("split", ""), row.get("group", ""))
    except csv.Error as error:
        raise DataError(f"{path}: the CSV file cannot be read: {error}") from None


def _text(path: Path) -> str:
    """Return the contents of the file. Raises `DataError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: the CSV file cannot be read: {error.strerror or error}") from None
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-16")
        if data[1:2] == b"\0" or data[:1] == b"\0":  # UTF-16 that does not say so
            return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path}: line {line}: the CSV file is not in UTF-8; save it again as 'CSV UTF-8'") from None


def _delimiter(lines: io.StringIO) -> tuple[str, int]:
    """Return the separator of cells, and how many lines precede the header, read next."""
    before = 0
    while True:
        start = lines.tell()
        line = lines.readline()
        if found := _SEPARATOR_LINE.fullmatch(line):
            return found[1], before + 1
        if line.strip() or not line:
            lines.seek(start)
            return max(_DELIMITERS, key=line.count), before
        before += 1


def _local_path(cell: str, where: str) -> str:
    """Return the path in a cell, also of a `file://` address.

    Raises `DataError` for other addresses and none at all.
    """
    if not cell:
        raise DataError(f"{where}: the column 'path' is empty")
    if not (found := _ADDRESS.match(cell)):
        return cell
    if found[1] is None:
        raise DataError(
            f"{where}: '{cell[:100]}' is an address of the web; whatsit reads files, so download the pictures first"
        )
    path = cell[found.end() :]  # as it stands: in a file's name # and ? are letters like others
    if path.startswith("//"):
        host, _, path = path[2:].partition("/")
        path = f"/{path}" if host.lower() in ("", "localhost") else f"{'//' if os.name == 'nt' else ''}{host}/{path}"
    path = unquote(path, errors="surrogateescape")
    return path[1:] if re.match(r"/[A-Za-z]:", path) and os.name == "nt" else path


class _Names:
    r"""A search of files by names in another Unicode form, other capitals, or with `\`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[Path, dict[str, list[str]]] = {}  # of each folder, its names by their normal forms

    def stored(self, path: str) -> str:
        """Return the name as it is stored, with `/`, or as given where no file has it."""
        if "\0" in path:
            return path
        if os.path.lexists(self._root / path):
            return str(PurePosixPath(path.replace("\\", "/") if os.name == "nt" else path))
        plain = PurePosixPath(path.replace("\\", "/"))
        if os.path.lexists(self._root / plain):
            return str(plain)
        found = PurePosixPath()
        for part in plain.parts:
            step = found / part
            if part not in ("/", "..") and not os.path.lexists(self._root / step):
                step = found / self._same(self._root / found, part)
            found = step
        return str(found if os.path.lexists(self._root / found) else plain)

    def _same(self, folder: Path, part: str) -> str:
        """Return the only name in a folder that is the same text, else the name as given."""
        if folder not in self._listed:
            names: dict[str, list[str]] = {}
            with contextlib.suppress(OSError):
                for name in itertools.chain(*list_folder(folder)):
                    plain = unicodedata.normalize("NFC", name)
                    for key in {plain, plain.casefold()}:
                        names.setdefault(key, []).append(name)
            self._listed[folder] = names
        for key in (unicodedata.normalize("NFC", part), unicodedata.normalize("NFC", part).casefold()):
            found = self._listed[folder].get(key, [])
            if len(found) == 1:
                return found[0]
        return part
