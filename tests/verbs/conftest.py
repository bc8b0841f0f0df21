"""A trainer that takes milliseconds, for what is not about training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import whatsit
from whatsit.files import write_text


@pytest.fixture(scope="session")
def ready(shapes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one real training of the smallest network came to, a `Trained` of three classes."""
    from whatsit.training import train as training

    kept: list[Any] = []
    really = training.train_by_recipe

    def keeping(*arguments: Any, **more: Any) -> Any:
        kept.append(really(*arguments, **more))
        return kept[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train_by_recipe", keeping)
        out = tmp_path_factory.mktemp("ready") / "run"
        settings = {"epochs": 1, "filters": [4, 8], "batch_size": 16}
        whatsit.train(shapes_folder, recipe="baseline", out=out, settings=settings, report=False)
    return kept[0]


@pytest.fixture
def instant(ready: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Hand in `ready` instead of a training, of whatever three classes and by whatever recipe."""

    def train_by_recipe(dataset: Any, recipe: Any, folder: Path, *_: Any, **__: Any) -> Any:
        rows = [",".join(ready.history[0]), *(",".join(map(str, epoch.values())) for epoch in ready.history)]
        write_text(folder / "history.csv", "\n".join(rows) + "\n")
        return replace(ready, dataset=dataset, recipe=recipe)

    monkeypatch.setattr("whatsit.training.train.train_by_recipe", train_by_recipe)
    return train_by_recipe
