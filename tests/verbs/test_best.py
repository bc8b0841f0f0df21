"""The recipe `best`: a climb as far as the time goes."""

from __future__ import annotations

from pathlib import Path

import pytest

import whatsit
from tests.conftest import Impatient
from whatsit.run.record import Run


@pytest.fixture(scope="module")
def interrupted(shapes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Impatient, Run]:
    """A climb that Ctrl-C ended in the second epoch of all layers, and what it said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whatsit.training.forecast.STRONGER_COST", 1e9)  # one backbone is enough here
        reporter, folder = Impatient("all-finetune", 2), tmp_path_factory.mktemp("best")
        return reporter, whatsit.train(
            shapes_folder, time_limit="1h", out=folder / "run", report=False, reporter=reporter
        )


def test_a_time_limit_alone_climbs_the_ladder(interrupted: tuple[Impatient, Run]) -> None:
    reporter, run = interrupted
    assert run.recipe.name == "best"
    assert [text.split("'")[1] for text in reporter.said if text.startswith("Rung")] == [
        "fast",
        "the deepest layers tuned",
        "all layers tuned",
    ]
    assert not [text for text in reporter.warned if "what was best before is kept" in text]


def test_climb_that_is_interrupted_ends_as_a_measured_run(interrupted: tuple[Impatient, Run]) -> None:
    reporter, run = interrupted
    assert run.test.accuracy == 1.0  # 1.0 over 20 seeds of these shapes, by the head alone
    assert {entry["stage"] for entry in reporter.epochs} == {
        "head-last",
        "head-all",
        "deepest-head-last",
        "deepest-finetune",
        "all-head-last",
        "all-finetune",
    }
