from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from whatsit.evaluation.metrics import (
    calibration_error,
    class_figures,
    confusion_matrix,
    figures,
    log_loss,
    wilson_interval,
)

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 500)
PROBABILITIES = RNG.dirichlet(np.ones(4), 500)
PROBABILITIES[np.arange(500), LABELS] += 0.4
PROBABILITIES /= PROBABILITIES.sum(axis=1, keepdims=True)
PREDICTED = PROBABILITIES.argmax(axis=1)


def test_figures_equal_scikit_learns() -> None:
    found = figures(LABELS, PROBABILITIES, ("a", "b", "c", "d"))
    assert found.accuracy == pytest.approx(reference.accuracy_score(LABELS, PREDICTED))
    assert found.loss == pytest.approx(reference.log_loss(LABELS, PROBABILITIES))
    assert found.confusion == reference.confusion_matrix(LABELS, PREDICTED).tolist()
    wanted = np.stack(reference.precision_recall_fscore_support(LABELS, PREDICTED), axis=1)
    assert np.allclose([list(vars(f).values()) for f in found.per_class.values()], wanted)


def test_class_that_is_never_named_counts_as_zero() -> None:
    [a, b] = class_figures(confusion_matrix(np.array([0, 0, 1]), np.array([0, 0, 0]), 2))
    assert (a.precision, a.recall, a.n) == (pytest.approx(2 / 3), 1.0, 2)
    assert (b.precision, b.recall, b.f1, b.n) == (0.0, 0.0, 0.0, 1)


@pytest.mark.parametrize(
    ("right", "total", "wanted"),
    [(95, 100, (0.8882, 0.9785)), (0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0)), (1, 2, (0.0945, 0.9055))],
)
def test_wilson_interval_equals_published_values(right: int, total: int, wanted: tuple[float, float]) -> None:
    assert wilson_interval(right, total) == pytest.approx(wanted, abs=1e-4)


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    assert log_loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(27.63, abs=0.01)


def test_calibration_error_of_honest_and_of_overconfident_answers() -> None:
    sure = np.tile([0.8, 0.2], (100, 1))
    labels = np.repeat([0, 1], [80, 20])
    assert calibration_error(labels, sure) == pytest.approx(0.0, abs=1e-9)
    assert calibration_error(np.repeat([0, 1], [50, 50]), sure) == pytest.approx(0.3)


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        figures(np.array([], int), np.empty((0, 2)), ("a", "b"))
