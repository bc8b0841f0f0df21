"""A run that is repeated from its folder."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

import whatsit
from whatsit.errors import DataError, UsageError
from whatsit.images.edits import Edit, add_edits, key_of
from whatsit.images.scan import scan
from whatsit.run.record import Run


def history(run: Run) -> list[tuple[str, float, float]]:
    rows = csv.DictReader((run.folder / "history.csv").read_text().splitlines())
    return [(row["epoch"], float(row["loss"]), float(row["val_loss"])) for row in rows]


def test_repeated_run_is_the_same(baseline_run: Run, tmp_path: Path) -> None:
    again = whatsit.train(from_run=baseline_run.folder, out=tmp_path / "again", report=False)
    assert again.test.accuracy == baseline_run.test.accuracy
    assert again.test.loss == pytest.approx(baseline_run.test.loss, abs=1e-4)
    assert (again.folder / "split.csv").read_text() == (baseline_run.folder / "split.csv").read_text()
    for mine, before in zip(history(again), history(baseline_run), strict=True):
        assert mine[0] == before[0]
        assert mine[1:] == pytest.approx(before[1:], abs=1e-4)


@pytest.mark.usefixtures("instant")
def test_pictures_that_came_later_are_left_out(baseline_run: Run, shapes_folder: Path, tmp_path: Path) -> None:
    more = shutil.copytree(shapes_folder, tmp_path / "more")
    shutil.copy(more / "disc" / "00.png", more / "rows" / "late.png")
    again = whatsit.train(more, from_run=baseline_run.folder, out=tmp_path / "again", report=False)
    assert (again.folder / "split.csv").read_text() == (baseline_run.folder / "split.csv").read_text()


@pytest.mark.usefixtures("instant")
def test_what_was_decided_since_changes_nothing(baseline_run: Run, shapes_folder: Path, tmp_path: Path) -> None:
    data = shutil.copytree(shapes_folder, tmp_path / "data")
    add_edits(data, [Edit(*key_of(scan(data).pictures[0]), "exclude")])
    again = whatsit.train(data, from_run=baseline_run.folder, out=tmp_path / "again", report=False)
    assert (again.folder / "split.csv").read_text() == (baseline_run.folder / "split.csv").read_text()


def test_damaged_split_is_told(baseline_run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(baseline_run.folder, tmp_path / "run")
    (folder / "split.csv").write_text("sha256,path,label,split\nabc")
    with pytest.raises(DataError, match=r"split\.csv: this file is damaged"):
        whatsit.train(from_run=folder, out=tmp_path / "again")


def test_pictures_that_are_gone_are_told(baseline_run: Run, shapes_folder: Path, tmp_path: Path) -> None:
    less = shutil.copytree(shapes_folder, tmp_path / "less")
    (less / "disc" / "03.png").unlink()
    with pytest.raises(DataError, match=r"1 of the 60 pictures of .* are missing or have changed, such as disc/03"):
        whatsit.train(less, from_run=baseline_run.folder, out=tmp_path / "again")


@pytest.mark.parametrize("options", [{"seed": 3}, {"recipe": "fast"}, {"limit": 9}, {"settings": {"epochs": 2}}])
def test_nothing_else_is_asked_for(baseline_run: Run, options: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--from-run repeats a run as it was"):
        whatsit.train(from_run=baseline_run.folder, out=tmp_path / "again", **options)


def test_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this is no run folder; --from-run takes"):
        whatsit.train(from_run=tmp_path)


def test_data_must_be_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="DATA is missing"):
        whatsit.train()
