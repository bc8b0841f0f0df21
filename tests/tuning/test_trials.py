"""Which trial is next, and what is learnt from one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.test_events import Recording
from whatsit.errors import WhatsitError
from whatsit.events import SILENT
from whatsit.images.data import open_split
from whatsit.images.split import Fractions
from whatsit.run.report import afterwards
from whatsit.training.recipe import Recipe
from whatsit.tuning.folder import Request, StudyFolder, begin_study
from whatsit.tuning.trial import Costs, Job, Outcome, TrialSource
from whatsit.tuning.trials import Trials

pytest.importorskip("optuna")


class Crew:
    """Does with the source what a test does."""

    shares_features = False

    def __init__(self, do: Callable[[TrialSource], None]) -> None:
        self.do = do

    def work(self, source: TrialSource) -> None:
        self.do(source)


@pytest.fixture
def study(shapes_folder: Path, tmp_path: Path) -> StudyFolder:
    def opened(limit: int | None, seed: int, fractions: Fractions | None):
        return open_split(shapes_folder, SILENT, limit, seed, fractions)

    request = Request(shapes_folder, Recipe(), {}, ["hidden=16,32,64"], None, None, 600.0, False, opened)
    return begin_study(tmp_path / "study", request)[0]


def trials(study: StudyFolder, do: Callable[[TrialSource], None]) -> Trials:
    dataset = open_split(study.data, SILENT, None, study.recipe.seed)
    return Trials(study, dataset, afterwards(dataset, report=True), time.perf_counter(), Recording(), Crew(do))


def outcome(loss: float, job: Job) -> Outcome:
    costs = (
        Costs("network", 0.01, 1, 0) if job.limit is not None and (job.lowest is None or loss <= job.lowest) else None
    )
    return Outcome(np.full(9, loss), 0.9, "", "", 2.0, 1.0, 0.0, "network", costs)


def test_no_two_workers_get_the_same_trial(study: StudyFolder) -> None:
    jobs: list[Job] = []

    def ask(source: TrialSource) -> None:
        jobs.extend(job for _ in range(8) if (job := source.next()))
        for job in jobs:
            source.finish(job, outcome(1.0, job))

    trials(study, ask).make()
    hidden = [job.recipe.hidden for job in jobs]
    assert len(hidden) == len({*hidden})


def test_resumed_study_keeps_time_for_its_best_run(study: StudyFolder) -> None:
    def one(loss: float) -> Callable[[TrialSource], None]:
        def do(source: TrialSource) -> None:
            job = source.next()
            assert job
            source.finish(job, outcome(loss, job))

        return do

    first = trials(study, one(0.5))
    first.make()
    resumed = trials(study, one(0.9))  # no better
    resumed.make()
    assert first.budget.knows_best
    assert resumed.budget.knows_best


def test_crew_that_cannot_work_is_not_held_against_its_trials(study: StudyFolder) -> None:
    def fail(source: TrialSource) -> None:
        assert source.next()
        raise WhatsitError("no worker can start")

    for _ in range(3):
        with pytest.raises(WhatsitError, match="no worker can start"):
            trials(study, fail).make()
    rows: list[Job] = []
    found, _ = trials(study, lambda source: rows.extend(filter(None, [source.next()]))).make()
    assert found == []
    assert [job.number for job in rows] == [0]
