"""Recipes that choose among others within a time limit."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import whatsit
from tests.conftest import Impatient, Listener
from whatsit.run.record import Run


@dataclass(frozen=True)
class Story:
    """A run that was cut off in the training of the winner, and gone on with."""

    before: Listener
    after: Listener
    run: Run

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(row["stage"] for row in history(self.run)))


def history(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader((run.folder / "history.csv").read_text().splitlines()))


def written(folder: Path, text: str) -> str:
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    return str(folder / "mine.toml")


@pytest.fixture(scope="module")
def story(shapes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("best")
    recipe = written(folder, 'candidates = ["baseline", "scratch"]')
    options: dict[str, Any] = {"recipe": recipe, "time_limit": "8s", "out": folder / "run", "report": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whatsit.training.train.PICTURES_PER_CLASS", 1)
        patch.setattr("whatsit.training.train.TRIAL", 0.3)
        patch.setattr("whatsit.training.train.SHORTEST_TRIAL", 0)
        before = Impatient("scratch")
        with pytest.raises(KeyboardInterrupt):
            whatsit.train(shapes_folder, reporter=before, **options)
        patch.setattr("whatsit.training.train.SHORTEST_TRIAL", 1e9)  # so little is left
        after = Listener()
        yield Story(before, after, whatsit.train(shapes_folder, reporter=after, resume=True, **options))


def test_each_candidate_has_a_trial_and_the_winner_is_trained(story: Story) -> None:
    assert sum(text.startswith("Trial of") for text in story.before.said) == 2
    assert story.stages == ["trial-baseline-scratch", "trial-scratch-scratch", "scratch"]
    assert story.run.recipe.name == "mine"


def test_interrupted_run_goes_on_with_the_winner(story: Story) -> None:
    assert not [text for text in story.after.said if "time is too short for trials" in text or "Trial of" in text]


@pytest.fixture(scope="module")
def short(shapes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Listener, Run]:
    """A run with more candidates than time; what was said, and the run."""
    folder, listener = tmp_path_factory.mktemp("short"), Listener()
    recipe = written(folder, 'candidates = ["fast", "finetune"]\ntest_time_shift = 0.05\n')
    options: dict[str, Any] = {"recipe": recipe, "time_limit": "1m", "out": folder / "run", "report": False}
    return listener, whatsit.train(shapes_folder, reporter=listener, **options)


def test_without_time_for_trials_the_first_candidate_has_it_all(short: tuple[Listener, Run]) -> None:
    listener, run = short
    assert "The time is too short for trials; all of it goes to 'fast'" in listener.said
    assert {row["stage"] for row in history(run)} == {"head-last", "head-all"}
    assert run.recipe.test_time_shift == 0.05


def test_labels_are_smoothed_only_where_there_are_more_epochs(short: tuple[Listener, Run]) -> None:
    assert short[1].recipe.label_smoothing == 0.0
