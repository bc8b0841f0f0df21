"""Outputs of a model for many inputs."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from whatsit.models.backend import load_keras
from whatsit.training.trainer import COMPILED_FROM, in_slices

load_keras()
import keras  # noqa: E402

INPUTS = np.random.default_rng(0).integers(0, 256, (COMPILED_FROM + 5, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def model() -> keras.Model:
    image = keras.Input((8, 8, 3), dtype="uint8")
    maps = keras.layers.Conv2D(4, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(maps)))


def test_outputs_of_many_inputs_are_those_of_few(model: keras.Model) -> None:
    few = np.concatenate([in_slices(model, INPUTS[:10]), in_slices(model, INPUTS[10:40])])
    assert in_slices(model, INPUTS)[:40] == pytest.approx(few, abs=1e-5)


def test_a_compiled_model_gives_the_outputs_of_its_present_weights(model: keras.Model) -> None:
    assert in_slices(model, INPUTS).any()
    model.layers[-1].kernel.assign(np.zeros((4, 3)))
    assert not in_slices(model, INPUTS).any()  # its bias is zero


def test_a_compiled_model_is_freed_with_its_last_user(model: keras.Model) -> None:
    own = keras.models.clone_model(model)
    in_slices(own, INPUTS)
    freed = weakref.ref(own)
    del own
    gc.collect()
    assert freed() is None
