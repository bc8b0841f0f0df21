from __future__ import annotations

import numpy as np
import pytest

from whatsit.models.backend import load_keras
from whatsit.training.batches import FeatureBatches, PictureBatches, Targets, ahead, class_weights
from whatsit.training.recipe import Recipe

load_keras()
LABELS = np.repeat(np.arange(3), [40, 40, 20])
PIXELS = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 3)).astype(np.uint8)
PIXELS[:, 0, 0, 0] = np.arange(100)  # tells which picture it is


def pictures(recipe: Recipe, size: int = 32) -> PictureBatches:
    return PictureBatches(PIXELS, LABELS, Targets.of(LABELS, 3, recipe), size, recipe)


@pytest.mark.parametrize("size", [3, 32, 99, 100, 512])
def test_an_epoch_has_every_picture_once_in_even_batches(size: int) -> None:
    batches = pictures(Recipe(), size)
    parts = [batches.batch(1, step)[0][:, 0, 0, 0] for step in range(batches.steps)]
    assert sorted(np.concatenate(parts)) == list(range(100))
    assert max(map(len, parts)) <= size
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_batch_is_a_function_of_seed_epoch_and_step() -> None:
    recipe = Recipe(flip=True, shift=0.2, random_erasing=0.5, cutmix=1.0)
    first, again, later = pictures(recipe).batch(2, 1), pictures(recipe).batch(2, 1), pictures(recipe).batch(3, 1)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(first, again, strict=True))
    assert not np.array_equal(first[0], later[0])
    assert not np.array_equal(first[0], pictures(Recipe(**{**vars(recipe), "seed": 1})).batch(2, 1)[0])


def test_pictures_are_mirrored_in_every_second_epoch() -> None:
    batches = pictures(Recipe(flip=True), 100)
    plain = {picture.tobytes(): row for row, picture in enumerate(PIXELS)}
    mirrored = {picture[:, ::-1].tobytes(): row for row, picture in enumerate(PIXELS)}
    seen = []
    for epoch in (1, 2):
        found = [picture.tobytes() for picture in batches.batch(epoch, 0)[0]]
        assert all(picture in plain or picture in mirrored for picture in found)
        seen.append({mirrored[picture] for picture in found if picture in mirrored})
    assert seen[0] | seen[1] == set(range(100))
    assert not seen[0] & seen[1]


def test_features_come_from_every_view() -> None:
    views = [np.zeros((100, 2), np.float16), np.ones((100, 2), np.float16)]
    views[0][:, 0] = views[1][:, 0] = np.arange(100)
    batches = FeatureBatches(views, LABELS, Targets.of(LABELS, 3, Recipe()), 50, 0)
    parts = [batches.batch(1, step) for step in range(batches.steps)]
    features, targets = (np.concatenate([part[place] for part in parts]) for place in range(2))
    assert features[:, 1].sum() == 100
    assert sorted(features[:, 0]) == sorted([*range(100)] * 2)
    assert np.array_equal(targets.argmax(axis=1), LABELS[features[:, 0].astype(int)])


def test_views_may_take_turns() -> None:
    views = [np.zeros((100, 2), np.float16), np.ones((100, 2), np.float16)]
    views[0][:, 0] = views[1][:, 0] = np.arange(100)
    batches = FeatureBatches(views, LABELS, Targets.of(LABELS, 3, Recipe()), 30, 0, turns=True)
    sides = []
    for epoch in (1, 2):
        features = np.concatenate([batches.batch(epoch, step)[0] for step in range(batches.steps)])
        assert sorted(features[:, 0]) == list(range(100))
        sides.append(features[np.argsort(features[:, 0]), 1])
    assert np.array_equal(sides[0], 1 - sides[1])
    assert 30 <= sides[0].sum() <= 70


def test_targets_are_smoothed_and_have_a_sum_of_one() -> None:
    targets = Targets.of(LABELS, 3, Recipe(label_smoothing=0.3, class_weights="balanced"))
    assert np.allclose(targets.rows, np.eye(3) * 0.7 + 0.1)


def test_balanced_weights_make_every_class_count_alike() -> None:
    weights = class_weights(np.array([60, 20]), "balanced")
    assert np.allclose(weights * [60, 20], 40)


@pytest.mark.parametrize("way", ["none", "balanced", "sqrt", "effective"])
def test_weights_have_a_mean_of_one_over_the_examples(way: str) -> None:
    counts = np.array([9000, 300, 20, 1, 0])
    assert (class_weights(counts, way) * counts).sum() == pytest.approx(counts.sum(), rel=1e-5)


@pytest.mark.parametrize("way", ["balanced", "sqrt", "effective"])
def test_an_example_of_a_smaller_class_counts_more(way: str) -> None:
    assert (np.diff(class_weights(np.array([900, 300, 20]), way)) > 0).all()


def test_batches_have_the_weight_of_each_example() -> None:
    targets = Targets.of(LABELS, 3, Recipe(class_weights="balanced"))
    _, rows, weights = PictureBatches(PIXELS, LABELS, targets, 32, Recipe()).batch(1, 0)
    assert np.array_equal(weights, targets.weights[rows.argmax(axis=1)])


def test_ahead_keeps_the_order_and_passes_errors_on() -> None:
    assert list(ahead(lambda number: number**2, range(10))) == [number**2 for number in range(10)]
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda number: 1 // (3 - number), range(10)))
