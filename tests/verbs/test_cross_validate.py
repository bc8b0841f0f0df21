"""Every picture tested once, by a model that has not seen it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whatsit
from tests.command import whatsit as command_line
from whatsit.errors import UsageError

QUICK = ["--no-report", "--set", "epochs=2", "--set", "size=32", "--set", "features=last", "--set", "views=original"]


def test_table_holds_every_picture_once(shapes_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = command_line("train", shapes_folder, "--folds", "3", "--out", run, *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["cross_validation"]
    counts = {folder.name: len(list(folder.glob("*.png"))) for folder in shapes_folder.iterdir()}
    assert dict(zip(found["classes"], np.sum(found["confusion"], axis=1).tolist(), strict=True)) == counts
    assert found["accuracy"] == np.trace(found["confusion"]) / found["n"]
    assert json.loads((run / "cross-validation.json").read_text("utf-8")) == found


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"folds": 1}, "2 folds at least, received 1"), ({"recipe": "best"}, "the recipe 'best' fits into a time limit")],
)
def test_what_cannot_be_cross_validated_is_refused_before_any_work(
    shapes_folder: Path, asked: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        whatsit.cross_validate(shapes_folder, **asked)


def test_too_few_pictures_are_noticed_before_any_training(shapes_folder: Path, tmp_path: Path) -> None:
    done = command_line("train", shapes_folder, "--folds", "50", "--out", tmp_path / "run")
    assert (done.returncode, "at least 50 are needed" in done.stderr) == (1, True)
    assert not list(tmp_path.iterdir())


def test_folds_need_data_of_their_own(shapes_folder: Path) -> None:
    done = command_line("train", shapes_folder, "--folds", "3", "--time-limit", "5m")
    assert (done.returncode, "excludes --time-limit" in done.stderr) == (2, True)


def test_beside_a_model_with_costs_its_answers_are_said_to_know_none(
    instant: Callable[..., Any], shapes_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "costs.toml").write_text('default = 1\n[prices]\n"disc -> *" = 50\n')
    asked = ("--folds", "2", "--costs", tmp_path / "costs.toml", "--out", tmp_path / "run", "--no-report")
    done = command_line("train", shapes_folder, "--recipe", "baseline", *asked)
    assert done.returncode == 0, done.stderr
    assert "These are the most probable classes, not those that cost least" in done.stdout
