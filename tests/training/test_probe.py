from __future__ import annotations

import numpy as np
import pytest

from whatsit.models.backend import load_keras
from whatsit.models.classifier import linear_head
from whatsit.training.calibration import beats
from whatsit.training.probe import fit_probe

load_keras()
CENTRES = np.random.default_rng(0).normal(0, 1, (4, 30))


def features(count: int, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % 4
    drawn = CENTRES[labels] + np.random.default_rng(seed).normal(0, noise, (count, 30))
    return np.maximum(drawn, 0).astype(np.float16), labels


@pytest.mark.parametrize("count", [20, 200])  # fewer images than features, and more
def test_probe_tells_easy_classes_apart(count: int) -> None:
    probe = fit_probe(features(count, 1, 0.3), features(40, 2, 0.3), 4)
    test, labels = features(400, 3, 0.3)
    # Seen over 20 seeds: 100 %; chance is 25 %.
    assert (probe.predict(test) == labels).mean() >= 0.9


def test_head_says_what_the_probe_says() -> None:
    probe = fit_probe(features(200, 1, 1.0), features(40, 2, 1.0), 4)
    test, _ = features(100, 3, 1.0)
    model = linear_head(probe.standard.mean, probe.standard.scale, probe.weights, probe.offset)
    assert np.allclose(np.asarray(model(test.astype(np.float32))), 10.0 * probe.scores(test), atol=1e-3)


def test_one_beats_another_where_it_is_clearly_more_often_right() -> None:
    good, bad = np.ones(100, bool), np.arange(100) >= 5
    assert beats(good, bad)
    assert not beats(bad, good)
    assert not beats(good, good)


@pytest.mark.parametrize(("more", "clear"), [(1, False), (2, False), (3, True)])
def test_one_or_two_images_more_are_luck(more: int, clear: bool) -> None:
    assert beats(np.ones(100, bool), np.arange(100) >= more) == clear
