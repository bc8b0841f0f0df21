"""Typed events, and who listens to them."""

from __future__ import annotations

import pytest

from whatsit.events import EpochDone, Event, Message, Printing, Progress, Reporter, StageStarted, Warned, Work


class Recording(Reporter):
    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


def test_every_call_is_an_event() -> None:
    heard = Recording()
    advance = heard.stage("Computing features (train)", Work.FEATURES, "train")
    advance(3, 10)
    heard.epoch({"epoch": 1}, 5)
    heard.say("a line")
    heard.warn("a warning")
    started, progress, *others = heard.events
    assert isinstance(started, StageStarted)
    assert (started.work, started.split) == (Work.FEATURES, "train")
    assert progress == Progress(started, 3, 10)
    assert others == [EpochDone({"epoch": 1}, 5), Message("a line"), Warned("a warning")]


def test_stages_of_one_name_are_told_apart() -> None:
    heard = Recording()
    for done in (1, 2):
        heard.stage("Testing")(done, 2)
    first, second = (event for event in heard.events if isinstance(event, StageStarted))
    assert first != second
    assert [event.stage for event in heard.events if isinstance(event, Progress)] == [first, second]


def test_lines_for_people_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    printing = Printing()
    printing.stage("Training")(1, 2)
    printing.say("half done")
    printing.warn("slow")
    assert capsys.readouterr().out == "half done\nNote: slow\n"
