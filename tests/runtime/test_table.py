"""Tables of predictions, written as they come."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest

from whatsit.errors import ImageError, UsageError
from whatsit.runtime.predictor import Prediction
from whatsit.runtime.table import open_table

CAT = Prediction("แมว", 0.75, False, (("แมว", 0.75), ("=dog", 0.25)))
NONE = Prediction("=dog", 0.5, True, (("=dog", 0.5), ("แมว", 0.5)))
BROKEN = ImageError("the file is empty (0 bytes)", "empty")
FOUND = [("a.jpg", CAT), ("=cmd|b.jpg", NONE), ("line\nbreak.jpg", BROKEN)]


def write(path: Path, found=FOUND, *, resume: bool = False) -> set[str]:
    with open_table(path, 2, resume=resume) as table:
        for name, one in found:
            table.add(name, one)
        return table.done


def test_csv_has_safe_cells_that_a_spreadsheet_shows_in_thai(tmp_path: Path) -> None:
    write(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO((tmp_path / "a.csv").read_bytes().decode("utf-8-sig"), newline="")))
    assert rows == [
        ["image", "label", "probability", "unknown", "label_2", "probability_2", "error"],
        ["a.jpg", "แมว", "0.750000", "no", "'=dog", "0.250000", ""],
        ["'=cmd|b.jpg", "'=dog", "0.500000", "yes", "แมว", "0.500000", ""],
        ["line\nbreak.jpg", "", "", "", "", "", "the file is empty (0 bytes)"],
    ]


def test_json_lines_are_those_of_the_command_line(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl")
    first, _, last = map(json.loads, (tmp_path / "a.jsonl").read_text("utf-8").splitlines())
    assert first == {
        "image": "a.jpg", "label": "แมว", "probability": 0.75, "unknown": False,
        "top": [{"label": "แมว", "probability": 0.75}, {"label": "=dog", "probability": 0.25}],
    }  # fmt: skip
    assert last == {"image": "line\nbreak.jpg", "error": "the file is empty (0 bytes)"}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_notes_are_further_columns_of_text(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    with open_table(path, 2, resume=False, also=("why",)) as table:
        table.add("a.jpg", CAT, "=unsure")
        table.add("b.jpg", BROKEN, "")
    if kind == "csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
        assert [row["why"] for row in rows] == ["'=unsure", ""]
        assert rows[1]["error"] == str(BROKEN)
    elif kind == "jsonl":
        assert json.loads(path.read_text("utf-8").splitlines()[0])["why"] == "=unsure"
    else:
        assert [row["why"] for row in parquet.read_table(path, use_threads=False).to_pylist()] == ["=unsure", ""]


def test_parquet_has_typed_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write(tmp_path / "a.parquet")
    rows = parquet.read_table(tmp_path / "a.parquet", use_threads=False).to_pylist()
    assert [row["image"] for row in rows] == [name for name, _ in FOUND]
    assert rows[0]["top"][1] == {"label": "=dog", "probability": 0.25}
    assert (rows[1]["unknown"], rows[2]["label"]) == (True, None)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("cut", [0, 1, 3, 20])
def test_interrupted_table_is_continued_without_a_torn_row(tmp_path: Path, kind: str, cut: int) -> None:
    whole, part = tmp_path / f"whole.{kind}", tmp_path / f"part.{kind}"
    write(whole)
    write(part, FOUND[:2])
    data = part.read_bytes()
    part.write_bytes(data[: len(data) - cut])
    done = write(part, [], resume=True)
    assert done == ({"a.jpg", "=cmd|b.jpg"} if not cut else {"a.jpg"})
    write(part, [(name, one) for name, one in FOUND if name not in done], resume=True)
    assert part.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_names_with_other_ends_of_lines_are_found_again(tmp_path: Path, kind: str) -> None:
    found = [("a\u2028b.jpg", CAT), ("c\x85d.jpg", CAT), ("e\rf.jpg", CAT)]
    write(tmp_path / f"a.{kind}", found)
    assert write(tmp_path / f"a.{kind}", [], resume=True) == {name for name, _ in found}


def test_interrupted_parquet_file_is_not_left(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    table = open_table(tmp_path / "a.parquet", 2, resume=False)
    table.add(*FOUND[0])
    table.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert list(tmp_path.iterdir()) == []


def test_rows_are_there_while_others_are_to_come(tmp_path: Path) -> None:
    with open_table(tmp_path / "a.csv", 2, resume=False) as table:
        table.add(*FOUND[0])
        assert "a.jpg" in (tmp_path / "a.csv").read_text("utf-8")


def test_existing_table_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(
        UsageError, match="exists already; remove it, choose another name, or continue it with --resume"
    ):
        write(tmp_path / "a.csv")
    with pytest.raises(UsageError, match="other columns"):
        write(tmp_path / "a.csv", resume=True)
    (tmp_path / "a.jsonl").write_text("mine\n")
    with pytest.raises(UsageError, match="not written by whatsit"):
        write(tmp_path / "a.jsonl", resume=True)
    assert (tmp_path / "a.csv").read_text() == "mine"


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a table of answers ends in \.csv, \.jsonl, \.parquet"):
        write(tmp_path / "a.xlsx")


@pytest.mark.parametrize(
    ("kind", "text"), [("jsonl", '{"my": "data"}'), ("jsonl", "notes"), ("csv", "a,b"), ("csv", "notes")]
)
def test_file_of_another_program_is_not_touched(tmp_path: Path, kind: str, text: str) -> None:
    (tmp_path / f"a.{kind}").write_text(text)
    with pytest.raises(UsageError, match="choose another name"):
        write(tmp_path / f"a.{kind}", resume=True)
    assert (tmp_path / f"a.{kind}").read_text() == text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_pipe_is_no_table(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / f"a.{kind}")
    with pytest.raises(UsageError, match="is no file"):
        write(tmp_path / f"a.{kind}", resume=True)


def test_name_is_one_cell_also_where_a_semicolon_parts_cells(tmp_path: Path) -> None:
    """As in Excel of countries with a decimal comma: what follows it would be a formula."""
    write(tmp_path / "a.csv", [("a;=cmd|b.jpg", CAT), ("a\t=cmd|b.jpg", CAT)])
    lines = (tmp_path / "a.csv").read_bytes().decode("utf-8-sig").split("\r\n")
    assert [line.split(",")[0] for line in lines[1:3]] == ['"a;=cmd|b.jpg"', '"a\t=cmd|b.jpg"']
    assert write(tmp_path / "a.csv", [], resume=True) == {"a;=cmd|b.jpg", "a\t=cmd|b.jpg"}
