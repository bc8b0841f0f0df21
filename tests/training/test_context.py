from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from whatsit.events import SILENT
from whatsit.images.scan import Dataset
from whatsit.training.clock import Clock
from whatsit.training.context import Context
from whatsit.training.history import History
from whatsit.training.recipe import Recipe


def test_time_is_kept_for_calibration_by_all_views_and_features_of_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("whatsit.training.context.seconds_per_picture", lambda network, dataset, seed: 0.1)
    clock = Clock(100.0, lambda text: None)
    recipe = Recipe(name="finetune", test_time_flip=True)
    context = Context(cast(Dataset, None), recipe, tmp_path, clock, SILENT, history=History(tmp_path, SILENT), size=64)
    assert len(context.test_views) == 2
    context.reserve(cast(Any, None), held=10, known=100)
    assert clock.left() == pytest.approx(97 - 10 * 2 * 0.1 - 100 * 0.1, abs=1)
