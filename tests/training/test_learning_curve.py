from __future__ import annotations

import numpy as np
import pytest

from whatsit.training.learning_curve import learning_curve

CENTRES = np.random.default_rng(0).normal(0, 1, (4, 30))


def features(count: int, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % 4
    return (CENTRES[labels] + np.random.default_rng(seed).normal(0, noise, (count, 30))).astype(np.float16), labels


def curve(noise: float, count: int = 640):
    return learning_curve(features(count, 1, noise), features(100, 2, noise), features(400, 3, noise), 4)


def test_easy_classes_are_learned_from_the_first_pictures() -> None:
    found = curve(0.3)
    assert found.pictures == (40, 80, 160, 320, 640)
    assert min(found.accuracy) >= 0.99  # seen over 20 draws: 1.0
    assert found.recall.shape == (5, 4)


def test_hard_classes_gain_from_more_pictures() -> None:
    found = curve(4.0)  # over 20 draws: 0.12 to 0.19 more, at most 0.65 in the end
    assert found.accuracy[0] + 0.1 < found.accuracy[-1] < 0.99
    assert found.recall[-1].mean() == pytest.approx(found.accuracy[-1])


def test_same_seed_same_curve() -> None:
    assert curve(2.5).accuracy == curve(2.5).accuracy


def test_few_pictures_give_a_short_curve() -> None:
    assert curve(0.3, count=8).shares == (1.0,)


def test_class_without_test_pictures_has_no_recall() -> None:
    test, labels = features(400, 3, 0.3)
    found = learning_curve(features(64, 1, 0.3), features(40, 2, 0.3), (test[labels != 2], labels[labels != 2]), 4)
    assert np.isnan(found.recall[:, 2]).all()
    assert np.isfinite(found.recall[:, [0, 1, 3]]).all()
