from __future__ import annotations

import numpy as np
import pytest

from whatsit.evaluation.metrics import auroc
from whatsit.training.unknown import enough_rows, fit_mahalanobis

pytestmark = pytest.mark.isa

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(0, 1, (3, 40))
MIX = RNG.normal(0, 0.15, (8, 40))


def known(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of three classes: a centre each, eight common directions of change, a little noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    return CENTRES[labels] + rng.normal(0, 1, (count, 8)) @ MIX + rng.normal(0, 0.15, (count, 40)), labels


def test_new_pictures_of_the_classes_score_about_one() -> None:
    distance = fit_mahalanobis(*known(900, 1), 3)
    assert distance.score(known(300, 2)[0]).mean() == pytest.approx(1.0, abs=0.1)  # seen over 20 draws: 1.035 to 1.072


def test_strangers_score_higher_than_new_pictures_of_the_classes() -> None:
    distance = fit_mahalanobis(*known(900, 1), 3)
    near = known(300, 2)[0]
    between = near[::3][:100] * 0.5 + near[1::3][:100] * 0.5  # half one class, half another
    for strangers in (between, RNG.normal(0, 1, (100, 40)), np.zeros((100, 40)), -near):
        scores = np.concatenate([distance.score(strangers), distance.score(near)])
        assert auroc(np.arange(len(scores)) < len(strangers), scores) > 0.99  # seen over 20 draws: 1.0


def test_brightness_of_the_features_does_not_count() -> None:
    distance = fit_mahalanobis(*known(900, 1), 3)
    features = known(50, 3)[0]
    assert distance.score(features * 7) == pytest.approx(distance.score(features))


@pytest.mark.parametrize("count", [4, 7, 30])
def test_few_pictures_give_finite_scores(count: int) -> None:
    features, labels = known(count, 1)
    distance = fit_mahalanobis(features, labels, 3)
    assert np.isfinite(distance.score(known(20, 2)[0])).all()


def test_features_that_never_stir_give_finite_scores() -> None:
    features, labels = known(60, 1)
    features[:, 5:] = 0.0
    assert np.isfinite(fit_mahalanobis(features, labels, 3).score(known(20, 2)[0])).all()


def test_enough_rows_keep_every_class() -> None:
    labels = np.repeat([0, 1, 2], [30_000, 5, 15_000])
    rows = enough_rows(labels, 3)
    assert len(rows) == pytest.approx(10_000, abs=3)
    assert set(labels[rows]) == {0, 1, 2}
    assert (np.diff(rows) > 0).all()
