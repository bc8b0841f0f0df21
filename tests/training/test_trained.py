"""A training is put together on a copy: nothing of it stays attached to the network that is kept open for the next."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest

from whatsit.events import SILENT
from whatsit.images.data import open_data, split_data
from whatsit.images.views import ORIGINAL
from whatsit.models.backend import load_keras
from whatsit.training.clock import Clock
from whatsit.training.context import Context
from whatsit.training.recipe import load
from whatsit.training.trained import Trained

load_keras()
import keras  # noqa: E402

from whatsit.training.features import FrozenNetwork  # noqa: E402
from whatsit.training.train import train_by_recipe  # noqa: E402

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def trained(data: Path, folder: Path) -> Trained:
    """A head of one epoch on the default network."""
    folder.mkdir()
    dataset = split_data(open_data(data, SILENT), 0, SILENT)
    plan = replace(load("fast"), epochs=1)
    return train_by_recipe(Context(dataset, plan, folder, Clock(None, SILENT.say), brief=True, complete=True))


def test_nothing_of_a_training_outlives_it(shapes_folder: Path, tmp_path: Path) -> None:
    first = trained(shapes_folder, tmp_path / "first")
    kept = first.features
    parts = [
        weakref.ref(layer)
        for layer in (first.head.get_layer("logits"), first.whole.to_keras((ORIGINAL,)).get_layer("logits"))
    ]
    del first
    second = trained(shapes_folder, tmp_path / "second")
    gc.collect()
    assert second.features is kept  # it was not built again
    assert [part() for part in parts] == [None, None]


def test_the_parts_say_what_the_whole_says(shapes_folder: Path, tmp_path: Path) -> None:
    one = trained(shapes_folder, tmp_path / "one")
    pixels = np.resize(PIXELS, (5, *one.input_size, 3))
    assert one.probabilities(pixels) == pytest.approx(np.asarray(one.keras_model()(pixels)), abs=1e-5)
    assert isinstance(one.whole.to_keras((ORIGINAL,)), keras.Model)
    assert one.whole is one.whole


def test_sensitivity_grows_with_the_error_of_features(shapes_folder: Path, tmp_path: Path) -> None:
    one = trained(shapes_folder, tmp_path / "one")
    pixels = np.resize(PIXELS, (5, *one.input_size, 3))
    assert one.sensitivity(pixels, 0.0).tolist() == [0.0] * 5
    small, large = one.sensitivity(pixels, 1e-5), one.sensitivity(pixels, 1e-2)
    assert 0 < small.max() < large.max() <= 1


def test_features_in_a_file_train_as_well(shapes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = trained(shapes_folder, tmp_path / "memory")
    monkeypatch.setattr(FrozenNetwork, "features", partialmethod(FrozenNetwork.features, in_memory=0))
    stored = trained(shapes_folder, tmp_path / "file")
    assert len(stored.right) == len(memory.right)
    assert stored.right.mean() >= memory.right.mean() - 0.2  # of few images
