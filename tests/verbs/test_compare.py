"""Two models on the same labelled pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import whatsit
from tests.command import whatsit as command_line
from tests.conftest import draw_shapes
from whatsit.errors import DataError, UsageError
from whatsit.run.record import Run


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that no model has seen."""
    return draw_shapes(tmp_path_factory.mktemp("new"), 12, first=5000)


@pytest.fixture(scope="module")
def swapped(baseline_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes columns for rows and rows for columns."""
    out = tmp_path_factory.mktemp("swapped") / "swapped.whatsit"
    return whatsit.rename(baseline_run.folder, {"columns": "rows", "rows": "columns"}, out).model


def test_model_does_not_differ_from_itself(baseline_run: Run, new: Path) -> None:
    found = whatsit.compare(baseline_run.folder, baseline_run.folder, new)
    assert (found.overall.won, found.overall.lost, found.agreement, found.differing) == (0, 0, 1.0, [])
    assert found.verdict.startswith("No clear difference on these 12 pictures")


def test_pictures_that_they_name_differently_are_shown(
    baseline_run: Run, swapped: Path, new: Path, tmp_path: Path
) -> None:
    page = tmp_path / "compare.html"
    done = command_line("compare", swapped, baseline_run.folder, new, "--out", page, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["per_class"]["disc"]["won"] == found["per_class"]["disc"]["lost"] == 0
    assert found["overall"]["won"] == len([one for one in found["differing"] if one["kind"] == "won"]) > 0
    html = page.read_text("utf-8")
    assert html.count("<figure>") == len(found["differing"])
    assert "data:image/jpeg;base64," in html


def test_pictures_that_one_was_trained_on_are_left_out(baseline_run: Run, shapes_folder: Path) -> None:
    found = whatsit.compare(baseline_run.folder, baseline_run.folder, shapes_folder)
    assert found.overall.n == baseline_run.test.n
    assert found.overall.first == baseline_run.test.accuracy


def test_models_of_which_nobody_knows_the_training_pictures_are_warned_of(swapped: Path, new: Path) -> None:
    done = command_line("compare", swapped, swapped, new)
    assert "which pictures it was trained on is not known" in done.stderr


def test_classes_that_one_does_not_know_are_left_out(baseline_run: Run, new: Path, tmp_path: Path) -> None:
    other = whatsit.rename(baseline_run.folder, {"disc": "circle"}, tmp_path / "other.whatsit").model
    found = whatsit.compare(baseline_run.folder, other, new)
    assert [*found.per_class] == ["columns", "rows"]
    none = whatsit.rename(other, {"rows": "r", "columns": "c"}, tmp_path / "none.whatsit").model
    with pytest.raises(DataError, match="no picture of a class that both models know"):
        whatsit.compare(baseline_run.folder, none, new)


def test_page_replaces_no_model_and_no_photo(baseline_run: Run, new: Path) -> None:
    before = baseline_run.model.read_bytes()
    with pytest.raises(UsageError, match=r"the page is an \.html file"):
        whatsit.compare(baseline_run.folder, baseline_run.folder, new, out=baseline_run.model)
    assert baseline_run.model.read_bytes() == before


def test_a_picture_under_two_labels_is_left_out(baseline_run: Run, tmp_path: Path) -> None:
    data = draw_shapes(tmp_path, 12, first=5000)
    one = next((data / "disc").iterdir())
    shutil.copy(one, data / "rows" / f"copy{one.suffix}")
    done = command_line("compare", baseline_run.folder, baseline_run.folder, data, "--json")
    assert json.loads(done.stdout)["overall"]["n"] == 11
    assert "2 files hold the same picture under different labels and were left out" in done.stderr
