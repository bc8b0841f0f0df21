from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import shapes
from whatsit.models.backend import load_keras
from whatsit.training.augment import augment, wants_augmentation
from whatsit.training.recipe import Recipe

load_keras()
import tensorflow as tf  # noqa: E402

PICTURES = np.stack([shapes("disc", i) for i in range(64)])


def moved(pictures: np.ndarray, recipe: Recipe, seed: int = 1) -> np.ndarray:
    return augment(tf.constant(pictures), recipe, tf.constant(seed, tf.int64)).numpy()


def test_nothing_asked_for_nothing_changed() -> None:
    assert not wants_augmentation(Recipe())
    assert np.abs(moved(PICTURES, Recipe()).astype(int) - PICTURES).max() <= 1


def test_flip_mirrors_about_half() -> None:
    result = moved(PICTURES, Recipe(flip=True)).astype(int)
    mirrored = [np.abs(a - b[:, ::-1]).max() <= 1 for a, b in zip(result, PICTURES, strict=True)]
    kept = [np.abs(a - b).max() <= 1 for a, b in zip(result, PICTURES, strict=True)]
    assert all(m or k for m, k in zip(mirrored, kept, strict=True))
    assert 16 <= sum(mirrored) <= 48


@pytest.mark.parametrize("knob", [{"rotation": 20.0}, {"shift": 0.2}, {"zoom": 0.2}, {"shear": 0.2}])
def test_each_knob_moves_pictures_and_fills_with_the_nearest_edge(knob: dict[str, float]) -> None:
    plain = np.full((8, 32, 32, 3), 77, np.uint8)
    assert (moved(plain, Recipe(**knob)) == 77).all()
    result = moved(PICTURES, Recipe(**knob)).astype(int)
    assert result.shape == PICTURES.shape
    assert (np.abs(result - PICTURES).mean(axis=(1, 2, 3)) > 1).mean() > 0.8


def test_seed_settles_everything_random() -> None:
    recipe = Recipe(rotation=20.0, shift=0.2, zoom=0.2, shear=0.2, flip=True)
    assert np.array_equal(moved(PICTURES, recipe), moved(PICTURES, recipe))
    assert not np.array_equal(moved(PICTURES, recipe), moved(PICTURES, recipe, seed=2))
