"""Many files: a table of their answers, and folders that they are sorted into."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import whatsit
from tests.command import whatsit as command_line
from whatsit.errors import UsageError
from whatsit.run.record import Run


@pytest.fixture
def photos(shapes_folder: Path, tmp_path: Path) -> Path:
    for number, path in enumerate(sorted(shapes_folder.rglob("*.png"))[::5]):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{number:02d}.png").write_bytes(path.read_bytes())
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    return tmp_path / "photos"


def test_table_and_folders_say_what_the_predictor_says(baseline_run: Run, photos: Path, tmp_path: Path) -> None:
    table, folder = tmp_path / "answers.jsonl", photos / "sorted"
    done = whatsit.predict_files(baseline_run.folder, [str(photos)], table=table, sort_into=folder)
    rows = {row["image"]: row for row in map(json.loads, table.read_text("utf-8").splitlines())}
    files = sorted(photos.glob("*.png"))
    assert (done.images, done.errors, sorted(rows)) == (len(files), 1, [str(path) for path in files])
    wanted = whatsit.load(baseline_run.folder).predict([path for path in files if path.name != "broken.png"])
    assert [rows[str(path)].get("label") for path in files if path.name != "broken.png"] == [
        one.label for one in wanted
    ]
    for path in files:
        answer = rows[str(path)]
        name = "unreadable" if "error" in answer else "unknown" if answer["unknown"] else answer["label"]
        assert (folder / name / path.name).read_bytes() == path.read_bytes()


def test_interrupted_table_gets_only_the_rest(baseline_run: Run, photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    whatsit.predict_files(baseline_run.folder, [str(photos / "0*.png")], table=table)
    done = whatsit.predict_files(baseline_run.folder, [str(photos)], table=table, resume=True)
    assert done.earlier == len(list(photos.glob("0*.png")))
    assert len(table.read_text("utf-8").splitlines()) == 1 + len(list(photos.glob("*.png")))


def test_folder_without_pictures_is_an_error(baseline_run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no pictures in"):
        whatsit.predict_files(baseline_run.folder, [str(tmp_path / "empty")], sort_into=tmp_path / "out")


def test_sorting_a_folder_into_itself_is_refused(baseline_run: Run, photos: Path) -> None:
    with pytest.raises(UsageError, match="itself; sort into another folder"):
        whatsit.predict_files(baseline_run.folder, [str(photos)], sort_into=photos)


def test_same_command_with_undo_takes_it_back(baseline_run: Run, photos: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in photos.iterdir()}
    command = ["predict", str(baseline_run.folder), str(photos), "--sort-into", str(tmp_path / "out"), "--move"]
    done = command_line(*command)
    assert done.returncode == 1  # a picture is broken
    assert f"Sorted into {tmp_path / 'out'}: " in done.stdout
    assert [path.name for path in photos.iterdir()] == ["notes.txt"]
    undone = command_line(*command, "--undo")
    assert (undone.returncode, undone.stdout) == (0, f"Undone in {tmp_path / 'out'}: {len(before) - 1} files\n")
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png", "--move"], "--move needs --sort-into DIR"),
        (["a.png", "--resume"], "--resume needs --csv FILE"),
        (["a.png", "--sort-into", "x", "--move", "--link"], "--copy, --move and --link exclude each other"),
        (
            ["a.png", "--sort-into", "x", "--sure", "90"],
            "--sure is a probability from 0 to 1, such as 0.9; received 90",
        ),
        (["a.png", "--csv", "x.txt"], "a table of answers ends in .csv, .jsonl, .parquet"),
        ([], "IMAGE is missing"),
    ],
)
def test_wrong_use_is_refused_in_a_line(baseline_run: Run, arguments: list[str], message: str) -> None:
    done = command_line("predict", str(baseline_run.folder), *arguments)
    assert (done.returncode, message in done.stderr, done.stderr.count("\n")) == (2, True, 1)
