"""Which images are trained on, where there is too little time for all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.conftest import Listener
from whatsit.events import SILENT
from whatsit.images.data import split_data
from whatsit.images.pictures import Pictures
from whatsit.images.scan import Dataset, scan
from whatsit.training import subset
from whatsit.training.clock import Afterwards, Clock
from whatsit.training.context import Context
from whatsit.training.features import FrozenNetwork
from whatsit.training.recipe import load


class Slow:
    """Stand-in for a frozen network of which no feature is known yet."""

    def __init__(self, unknown: int) -> None:
        self._unknown = unknown

    def missing(self, pictures: Pictures, views: Sequence[str]) -> int:
        return self._unknown

    def uncached(self, dataset: Dataset, pictures: Pictures, views: Sequence[str]) -> None:
        """Take no time."""


@pytest.mark.parametrize(
    ("fits", "unknown", "left_out"),
    [(0.9, 100, False), (0.02, 100, True), (0.02, 1, False)],  # the last: nearly all features are known
)
def test_report_gives_way_to_half_of_the_images(
    shapes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: float, unknown: int, left_out: bool
) -> None:
    monkeypatch.setattr(subset, "FEATURES_SHARE", fits)
    monkeypatch.setattr(subset, "FEWEST", -1_000_000)
    dataset, listener = split_data(scan(shapes_folder), 0, SILENT), Listener()
    # An image takes a second.
    clicks = itertools.count(step=min(len(dataset.of("train")), subset.SAMPLE))
    monkeypatch.setattr(subset, "time", SimpleNamespace(perf_counter=clicks.__next__))

    def begun() -> Clock:
        clock = Clock(600.0, listener.say, afterwards=Afterwards(report=Afterwards(fixed=10.0)))
        context = Context(dataset, load("fast"), tmp_path, clock, listener)
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        subset.choose_images(context, cast(FrozenNetwork, cast(Any, Slow(unknown))), 0.9, ("original",))
        return clock

    assert begun().without_report == left_out
    assert begun().without_report == left_out  # and so when an interrupted run goes on
    assert any("too short for the report" in text for text in listener.warned) == left_out
