"""What a trial's listener makes of its events."""

from __future__ import annotations

import time

import pytest

from tests.test_events import Recording
from whatsit.events import Progress, StageStarted, Work
from whatsit.training.history import CHOSEN_BY
from whatsit.tuning.trial import FellBehindError, _Watching


def watching(heard: Recording, *, behind: bool = False, judged: str = "") -> _Watching:
    return _Watching(heard, lambda epoch, loss: behind, judged)


def test_features_of_training_images_are_timed_and_shown() -> None:
    heard = Recording()
    listener = watching(heard)
    for split in ("train", "validation"):
        advance = listener.stage("any text", Work.FEATURES, split)
        advance(0, 4)
        time.sleep(0.02)
        advance(4, 4)
    assert [type(event) for event in heard.events] == [StageStarted, Progress, Progress] * 2
    [seconds] = listener.looking.values()
    assert 0.004 <= seconds < 0.1


def test_lines_and_the_steps_of_training_are_not_shown() -> None:
    heard = Recording()
    listener = watching(heard)
    listener.say("a line")
    listener.stage("any text", Work.TRAINING)(1, 2)
    listener.stage("any text", Work.READING)  # nothing to do
    listener.epoch({"stage": "head-all", "epoch": 1, CHOSEN_BY: 0.5})
    assert heard.events == []
    assert 0 < listener.training < 1


def test_trial_that_falls_behind_is_stopped_in_the_stage_that_is_judged() -> None:
    listener = watching(Recording(), behind=True, judged="finetune")
    listener.epoch({"stage": "head-all", "epoch": 1, CHOSEN_BY: 0.5})
    with pytest.raises(FellBehindError):
        listener.epoch({"stage": "finetune", "epoch": 1, CHOSEN_BY: 0.5})
