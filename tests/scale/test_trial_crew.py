"""Trials in processes of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import whatsit
from tests.scale.scripted import QUICK_TRIALS, SMALL, Scripted, once, trial_data, with_quick_trials
from whatsit.errors import UsageError
from whatsit.scale.supervise import WorkerError
from whatsit.scale.trial_crew import LocalCrew
from whatsit.scale.trial_worker import TrialWorker


def children() -> list[int]:
    return [
        one.pid
        for one in psutil.Process().children(recursive=True)
        if {"whatsit.scale.trial_worker", QUICK_TRIALS} & {*one.cmdline()}
    ]


@pytest.fixture
def quick_trials() -> Iterator[None]:
    """Trials that load no TensorFlow, where the processes are the matter and not what they train."""
    with with_quick_trials():
        yield


def crew(images: Path, folder: Path, size: int = 1, **other: object) -> LocalCrew:
    return LocalCrew(trial_data(images, **other), size, lambda number: folder / str(number))


@pytest.mark.usefixtures("quick_trials")
def test_trial_whose_process_dies_is_made_again(images: Path, tmp_path: Path) -> None:
    source = Scripted(2, once(lambda: os.kill(children()[0], signal.SIGKILL)))
    crew(images, tmp_path).work(source)
    [(number, why)] = source.lost
    assert number == 0
    assert "killed (signal 9)" in why
    assert sorted(source.done) == [0, 1]
    assert all(one.loss for one in source.done.values())
    assert children() == []


def test_trial_that_falls_behind_is_stopped_and_the_next_is_told_in_full(images: Path, tmp_path: Path) -> None:
    source = Scripted(2, lambda number, epoch: number == 0 and epoch >= 2)
    crew(images, tmp_path).work(source)
    behind, whole = source.done[0], source.done[1]
    assert source.judged[:3] == [(0, 1), (0, 2), (1, 1)]
    assert (behind.loss, behind.error) == (None, "")
    assert whole.loss
    assert whole.accuracy
    assert whole.costs
    assert "val_accuracy" in whole.history
    assert children() == []


def test_study_by_two_processes_ends_with_its_best_run(images: Path, tmp_path: Path) -> None:
    found = whatsit.tune(
        images, out=tmp_path / "study", trials=3, settings=SMALL, search=["hidden=16,32,64"], report=False, workers=2
    )
    assert [row.number for row in found.trials] == [0, 1, 2]
    assert found.run is not None
    assert children() == []


def test_other_pictures_than_those_of_the_study_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="the pictures that a worker finds there are not those of the study"):
        crew(images, tmp_path, size=2, fingerprint="another").work(Scripted(2))


def test_workers_are_here_or_on_a_cluster(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not go with --ray"):
        whatsit.tune(images, out=tmp_path / "study", workers=2, ray="auto")
    assert not (tmp_path / "study").exists()


@pytest.mark.usefixtures("quick_trials")
def test_process_that_dies_while_it_is_idle_costs_no_trial(images: Path, tmp_path: Path) -> None:
    worker = TrialWorker(trial_data(images))
    jobs = Scripted(2).todo
    try:
        for job in jobs:
            worker.begin(job, tmp_path / str(job.number))
            while not ((said := worker.hear(120.0)) and said.outcome):
                worker.answer(stop=False)
            assert said.outcome.loss
            [pid] = children()
            os.kill(pid, signal.SIGKILL)
            psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
    finally:
        worker.close()


@pytest.mark.usefixtures("quick_trials")
def test_error_of_one_worker_ends_the_others_at_once(images: Path, tmp_path: Path) -> None:
    class Failing(Scripted):
        def judge(self, number: int, epoch: int, loss: float) -> bool:
            if self.running < 2:
                return False
            raise WorkerError("the study is gone")

    source = Failing(2)
    source.todo = [replace(job, recipe=replace(job.recipe, epochs=10_000)) for job in source.todo]
    with pytest.raises(WorkerError, match="the study is gone"):
        crew(images, tmp_path, size=2).work(source)
    assert children() == []
