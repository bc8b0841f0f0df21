"""A table of predictions, written as they come: CSV, JSON lines or Parquet."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whatsit.errors import ImageError, UsageError
from whatsit.files import disk_error, from_spreadsheet, replacing, spreadsheet_safe
from whatsit.images.manifest import arrow
from whatsit.runtime.predictor import Prediction

ENDINGS = (".csv", ".jsonl", ".parquet")
_GROUP = 5_000  # rows of a group of a Parquet file
_BOM = "\ufeff"  # without which a spreadsheet shows Thai as garbage


class Table(ABC):
    """A table that is being written; a context manager."""

    def __init__(self, path: Path, top: int, also: Sequence[str] = ()) -> None:
        self.path, self._top, self._also = path, top, tuple(also)
        self.done: set[str] = set()  # names of images that it holds already
        self.rows: set[tuple[str, ...]] = set()  # the same with the columns of `also`, of rows that were there

    def add(self, name: str, found: Prediction | ImageError, *also: str) -> None:
        """Write an image's row, with the cells of `also`. Raises `DiskError`."""
        try:
            self._add(name, found, also)
        except OSError as error:
            raise disk_error(self.path, error) from None
        if not self._also:  # with them it may be written to for years
            self.done.add(name)

    @abstractmethod
    def _add(self, name: str, found: Prediction | ImageError, also: Sequence[str]) -> None: ...

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *raised: object) -> None:
        try:
            self._close(complete=raised[0] is None)
        except OSError as error:
            raise disk_error(self.path, error) from None

    @abstractmethod
    def _close(self, *, complete: bool) -> None: ...


def open_table(path: str | Path, top: int, *, resume: bool, also: Sequence[str] = ()) -> Table:
    """Open a table for writing; its kind is that of the file's ending.

    Args:
        path: a new `.csv`, `.jsonl` or `.parquet` file.
        top: the number of classes that a row names, the most probable first.
        resume: continue a file that an interrupted run left; the images in it are `Table.done`.
        also: further columns of text, after the name.

    Raises:
        UsageError: another ending, the file exists, or it was written otherwise. DiskError: it cannot be written.
        MissingExtraError: Parquet without pyarrow.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in ENDINGS:
        raise UsageError(f"{path}: a table of answers ends in {', '.join(ENDINGS)}")
    if os.path.lexists(path) and not resume:
        how = "remove it, choose another name" + (", or continue it with --resume" if kind != ".parquet" else "")
        raise UsageError(f"{path} exists already; {how}")
    if kind == ".parquet":
        if resume:
            raise UsageError(
                f"{path}: a Parquet file is written at the end and cannot be continued; take .csv or .jsonl"
            )
        return _Parquet(path, top, also)
    return (_Csv if kind == ".csv" else _Lines)(path, top, also)


class _Text(Table):
    """A text file with a row a line, which anybody may read while it grows."""

    def __init__(self, path: Path, top: int, also: Sequence[str] = ()) -> None:
        super().__init__(path, top, also)
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: this is no file; choose another name")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            there = path.read_bytes() if path.exists() else b""
            whole = (
                there[: there.rfind(b"\n") + 1] or there
            )  # the last line may be cut short, in the middle of a letter
            kept = self._kept(whole.decode("utf-8-sig"))
            if kept.encode() != there.removeprefix(_BOM.encode()):
                with replacing(path) as file:
                    file.write((_BOM * (path.suffix.lower() == ".csv") + kept).encode())
            self._file = path.open("ab")
            self._size = self._file.seek(0, os.SEEK_END)
            if not kept:
                self._write(self._head())
        except UnicodeDecodeError:
            raise UsageError(f"{path}: this file was not written by whatsit; choose another name") from None
        except OSError as error:
            raise disk_error(path, error) from None

    @abstractmethod
    def _kept(self, text: str) -> str:
        """Return the whole rows of a file that is continued; note their names.

        Raises `UsageError`.
        """

    @abstractmethod
    def _head(self) -> str: ...

    @abstractmethod
    def _row(self, name: str, found: Prediction | ImageError, also: Sequence[str]) -> str: ...

    def _add(self, name: str, found: Prediction | ImageError, also: Sequence[str]) -> None:
        self._write(self._row(name, found, also))

    def _write(self, text: str) -> None:
        """Write it all or nothing."""
        data = text.encode(errors="backslashreplace")
        try:
            self._file.write(data)
            self._file.flush()
        except OSError:
            os.truncate(self.path, self._size)
            raise
        self._size += len(data)

    def _close(self, *, complete: bool) -> None:
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())


class _Csv(_Text):
    def _columns(self) -> list[str]:
        others = [f"{what}_{place}" for place in range(2, self._top + 1) for what in ("label", "probability")]
        return ["image", *self._also, "label", "probability", "unknown", *others, "error"]

    def _head(self) -> str:
        return _BOM + _line(self._columns())

    def _row(self, name: str, found: Prediction | ImageError, also: Sequence[str]) -> str:
        if isinstance(found, ImageError):
            cells = [name, *also, *[""] * (len(self._columns()) - len(also) - 2), str(found)]
        else:
            best = [cell for label, share in found.others[: self._top - 1] for cell in (label, f"{share:.6f}")]
            best += [""] * (2 * (self._top - 1) - len(best))
            cells = [name, *also, found.label, f"{found.probability:.6f}", "yes" if found.unknown else "no", *best, ""]
        return _line([spreadsheet_safe(cell) for cell in cells])

    def _kept(self, text: str) -> str:
        rows = list(csv.reader(io.StringIO(text, newline="")))
        if rows and rows[0] != self._columns():
            raise UsageError(
                f"{self.path}: it has other columns than this run would write; choose another name, or the same --top as before"
            )
        if rows and (len(rows[-1]) != len(rows[0]) or not text.endswith("\n")):
            rows.pop()
        self.rows = {tuple(map(from_spreadsheet, row[: 1 + len(self._also)])) for row in rows[1:] if row}
        self.done = {row[0] for row in self.rows}
        return "".join(map(_line, rows))


class _Lines(_Text):
    def _head(self) -> str:
        return ""

    def _row(self, name: str, found: Prediction | ImageError, also: Sequence[str]) -> str:
        cells = {"image": name, **dict(zip(self._also, also, strict=True)), **as_json(found)}
        return json.dumps(cells, ensure_ascii=False) + "\n"

    def _kept(self, text: str) -> str:
        lines = [f"{line}\n" for line in text.split("\n")[:-1]]  # names may hold other ends of lines
        try:
            if text and not lines:  # a first row that was cut short, or a line of another program
                _require_torn(text)
            read = [json.loads(line) for line in lines]
            self.rows = {tuple(str(row[key]) for key in ("image", *self._also)) for row in read}
            self.done = {row[0] for row in self.rows}
        except (ValueError, LookupError, TypeError, RecursionError):
            raise UsageError(f"{self.path}: this file was not written by whatsit; choose another name") from None
        return "".join(lines)


def _require_torn(text: str) -> None:
    """Raise `ValueError` where a text is not the beginning of a row of JSON."""
    begins = '{"image": '
    with contextlib.suppress(json.JSONDecodeError):
        json.loads(text)
        raise ValueError
    if not text.startswith(begins) and not begins.startswith(text):
        raise ValueError


class _Parquet(Table):
    """A Parquet file, in its place only when it is complete."""

    def __init__(self, path: Path, top: int, also: Sequence[str] = ()) -> None:
        super().__init__(path, top, also)
        self._pa = pa = arrow()
        best = pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32())]))
        fields = [
            ("image", pa.string()),
            *((name, pa.string()) for name in also),
            ("label", pa.string()),
            ("probability", pa.float32()),
            ("unknown", pa.bool_()),
        ]
        self._schema = pa.schema([*fields, ("top", best), ("error", pa.string())])
        self._rows: list[dict[str, Any]] = []
        self._whole = replacing(path)
        self._writer = pa.parquet.ParquetWriter(self._whole.__enter__(), self._schema, compression="zstd")

    def _add(self, name: str, found: Prediction | ImageError, also: Sequence[str]) -> None:
        notes = dict(zip(self._also, also, strict=True))
        self._rows.append({"image": name.encode(errors="backslashreplace").decode(), **notes, **as_json(found)})
        if len(self._rows) >= _GROUP:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(self._pa.Table.from_pylist(self._rows, self._schema))
        self._rows.clear()

    def _close(self, *, complete: bool) -> None:
        try:
            self._flush()
            self._writer.close()
            if not complete:
                raise _IncompleteError
        except BaseException as error:
            with contextlib.suppress(_IncompleteError):
                self._whole.__exit__(type(error), error, error.__traceback__)
                raise
            return
        self._whole.__exit__(None, None, None)


class _IncompleteError(Exception):
    """Tell `replacing` that a file is not to be kept."""


def as_json(found: Prediction | ImageError) -> dict[str, Any]:
    """Return a prediction, or an error, as a JSON object."""
    return {"error": str(found)} if isinstance(found, ImageError) else found.to_json()


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    # Cells are quoted that hold one of these: the ends of lines, and what parts cells for a spreadsheet of another country.
    csv.writer(text, lineterminator=";\t\r\n").writerow(cells)
    return text.getvalue().removesuffix(";\t\r\n") + "\r\n"
