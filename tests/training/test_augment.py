from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import shapes
from whatsit.models.backend import load_keras
from whatsit.training.augment import augment, mix, wants_augmentation
from whatsit.training.batches import wants_live_pictures
from whatsit.training.recipe import Recipe

load_keras()

PICTURES = np.stack([shapes("disc", i) for i in range(64)])
NOBODY = np.zeros(64, bool)


def moved(pictures: np.ndarray, recipe: Recipe, seed: int = 1, mirrored: np.ndarray = NOBODY) -> np.ndarray:
    return augment(pictures, recipe, np.random.default_rng(seed), mirrored[: len(pictures)])


def test_nothing_asked_for_nothing_changed() -> None:
    assert not wants_augmentation(Recipe())
    assert np.array_equal(moved(PICTURES, Recipe()), PICTURES)


def test_only_a_mirror_image_can_be_computed_once() -> None:
    assert wants_augmentation(Recipe(flip=True))
    assert not wants_live_pictures(Recipe(flip=True))
    for live in (
        Recipe(flip=True, shift=0.1),
        Recipe(cutmix=1.0),
        Recipe(random_erasing=0.5),
        Recipe(rand_augment=9.0),
    ):
        assert wants_live_pictures(live)


def test_mirrored_ones_are_exact_mirror_images() -> None:
    mirrored = np.arange(64) % 2 == 0
    result = moved(PICTURES, Recipe(flip=True), mirrored=mirrored)
    assert np.array_equal(result[mirrored], PICTURES[mirrored][:, :, ::-1])
    assert np.array_equal(result[~mirrored], PICTURES[~mirrored])


def test_shifts_are_whole_pixels() -> None:
    result = moved(PICTURES, Recipe(shift=2 / 32))
    inner = {result[0, 4:28, 4:28].tobytes()}
    shifted = {PICTURES[0, 4 + y : 28 + y, 4 + x : 28 + x].tobytes() for y in range(-2, 3) for x in range(-2, 3)}
    assert inner <= shifted


@pytest.mark.parametrize(
    "knob", [{"rotation": 20.0}, {"shift": 0.2}, {"zoom": 0.2}, {"shear": 0.2}, {"rand_augment": 15.0}]
)
def test_each_knob_moves_pictures_and_fills_from_the_picture(knob: dict[str, float]) -> None:
    if "rand_augment" not in knob:  # which recolours
        plain = np.full((8, 32, 32, 3), 77, np.uint8)
        assert (moved(plain, Recipe(**knob)) == 77).all()
    result = moved(PICTURES, Recipe(**knob)).astype(int)
    assert result.shape == PICTURES.shape
    assert (np.abs(result - PICTURES).mean(axis=(1, 2, 3)) > 1).mean() > 0.75


def test_seed_settles_everything_random() -> None:
    recipe = Recipe(rotation=20.0, shift=0.2, zoom=0.2, shear=0.2, rand_augment=9.0, random_erasing=0.5)
    assert np.array_equal(moved(PICTURES, recipe), moved(PICTURES, recipe))
    assert not np.array_equal(moved(PICTURES, recipe), moved(PICTURES, recipe, seed=2))


def test_random_erasing_takes_rectangles_of_some_pictures() -> None:
    changed = (moved(PICTURES, Recipe(random_erasing=0.5)) != PICTURES).any(axis=3)
    touched = changed.any(axis=(1, 2))
    assert 16 <= touched.sum() <= 48
    assert changed[touched].mean(axis=(1, 2)).min() >= 0.01
    assert changed[touched].mean(axis=(1, 2)).max() <= 0.36


def test_erased_is_filled_with_the_mean_colour_of_the_picture() -> None:
    result = moved(PICTURES, Recipe(random_erasing=1.0))
    for before, after in zip(PICTURES, result, strict=True):
        erased = after[(before != after).any(axis=2)]
        assert (erased == np.rint(before.mean(axis=(0, 1)))).all()


def test_mixup_blends_pictures_and_targets_alike() -> None:
    flat = np.repeat(np.array([0, 200], np.uint8), 8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    targets = np.eye(2, dtype=np.float32)[np.repeat([0, 1], 8)]
    weights = 1.0 + 2.0 * targets[:, 1]
    pixels, mixed, counted = mix(flat, targets, weights, Recipe(mixup=1.0), np.random.default_rng(3))
    assert np.allclose(pixels[:, 0, 0, 0] / 200, mixed[:, 1], atol=0.005)
    assert np.allclose(mixed.sum(axis=1), 1.0)
    assert np.allclose(counted, 1.0 + 2.0 * mixed[:, 1])
    assert ((mixed[:, 0] > 0.05) & (mixed[:, 0] < 0.95)).any()


def test_batches_are_mixed_at_the_chance_given() -> None:
    targets, rng = np.eye(2, dtype=np.float32)[[0, 1] * 4], np.random.default_rng(0)
    pixels = np.zeros((8, 4, 4, 3), np.uint8)
    recipe = Recipe(mixup=1.0, mix_chance=0.5)
    mixed = sum(mix(pixels, targets, np.ones(8, np.float32), recipe, rng)[1] is not targets for _ in range(200))
    assert 75 <= mixed <= 125


def test_cutmix_takes_an_area_and_as_much_of_the_target() -> None:
    flat = np.repeat(np.array([0, 1], np.uint8), 8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    targets = np.eye(2, dtype=np.float32)[np.repeat([0, 1], 8)]
    for seed in range(5):
        weights = 1.0 + 2.0 * targets[:, 1]
        pixels, mixed, counted = mix(flat, targets, weights, Recipe(cutmix=1.0), np.random.default_rng(seed))
        assert np.allclose(pixels[..., 0].mean(axis=(1, 2)), mixed[:, 1], atol=1e-5)
        assert np.allclose(counted, 1.0 + 2.0 * mixed[:, 1])


def test_movement_is_bilinear_interpolation_of_the_mirrored_picture() -> None:
    from scipy.ndimage import map_coordinates

    recipe = Recipe(flip=False, rotation=25.0, shear=0.2, zoom=0.3, shift=0.2)
    pixels = np.random.default_rng(5).integers(0, 256, (4, 9, 14, 3), dtype=np.uint8)
    count, height, width, _ = pixels.shape
    found = augment(pixels, recipe, np.random.default_rng(6), np.zeros(count, bool))
    draws = np.random.default_rng(6).uniform(-1.0, 1.0, (6, count))
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    for number in range(count):
        turn, shear, wide, high, right, down = draws[:, number]
        angle, shear, wide, high = np.radians(25.0) * turn, 0.2 * shear, 1 + 0.3 * wide, 1 + 0.3 * high
        move = np.diag([wide, high]) @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        move = move @ np.array([[1.0, shear], [0.0, 1.0]])
        from_x = move[0, 0] * x + move[0, 1] * y + np.rint(0.2 * right * width) + (width - 1) / 2
        from_y = move[1, 0] * x + move[1, 1] * y + np.rint(0.2 * down * height) + (height - 1) / 2
        for channel in range(3):
            wanted = map_coordinates(
                pixels[number, ..., channel].astype(np.float64), [from_y, from_x], order=1, mode="reflect"
            )
            # Rounded to whole levels; places are float32, so that steep edges add a little.
            assert np.abs(found[number, ..., channel] - wanted).max() <= 0.51
