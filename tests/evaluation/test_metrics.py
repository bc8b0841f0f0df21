from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from whatsit.evaluation.metrics import (
    Metrics,
    auroc,
    average_precision,
    calibration_error,
    calibration_error_by_luck,
    class_metrics,
    compute_metrics,
    confusion_matrix,
    log_loss,
    precision_recall_curve,
    reliability,
    roc_curve,
    top_accuracy,
    wilson_interval,
)

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 500)
PROBABILITIES = RNG.dirichlet(np.ones(4), 500)
PROBABILITIES[np.arange(500), LABELS] += 0.4
PROBABILITIES /= PROBABILITIES.sum(axis=1, keepdims=True)
PREDICTED = PROBABILITIES.argmax(axis=1)


def test_figures_equal_scikit_learns() -> None:
    found = compute_metrics(LABELS, PROBABILITIES, ("a", "b", "c", "d"))
    assert found.accuracy == pytest.approx(reference.accuracy_score(LABELS, PREDICTED))
    assert found.loss == pytest.approx(reference.log_loss(LABELS, PROBABILITIES))
    assert found.confusion == reference.confusion_matrix(LABELS, PREDICTED).tolist()
    wanted = np.stack(reference.precision_recall_fscore_support(LABELS, PREDICTED), axis=1)
    assert np.allclose([(f.precision, f.recall, f.f1, f.n) for f in found.per_class.values()], wanted)


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_averages_equal_scikit_learns(average: str) -> None:
    found = getattr(compute_metrics(LABELS, PROBABILITIES, ("a", "b", "c", "d")), average)
    wanted = reference.precision_recall_fscore_support(LABELS, PREDICTED, average=average)[:3]
    assert (found.precision, found.recall, found.f1) == pytest.approx(wanted)
    for name, value in zip(("precision", "recall", "f1"), wanted, strict=True):
        low, high = getattr(found, f"{name}_ci95")
        assert low < value < high


def test_areas_under_curves_equal_scikit_learns() -> None:
    for k in range(4):
        scores = PROBABILITIES[:, k].round(2)  # with ties
        assert auroc(k == LABELS, scores) == pytest.approx(reference.roc_auc_score(k == LABELS, scores))
        wanted = reference.average_precision_score(k == LABELS, scores)
        assert average_precision(k == LABELS, scores) == pytest.approx(wanted)


def test_curves_begin_and_end_where_they_must() -> None:
    false, true = roc_curve(LABELS == 0, PROBABILITIES[:, 0])
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    recall, precision = precision_recall_curve(LABELS == 0, PROBABILITIES[:, 0])
    assert recall[-1] == 1
    assert precision[-1] == pytest.approx((LABELS == 0).mean())


def test_top_accuracy_equals_scikit_learns() -> None:
    wanted = reference.top_k_accuracy_score(LABELS, PROBABILITIES, k=2)
    assert top_accuracy(LABELS, PROBABILITIES, 2) == pytest.approx(wanted)
    assert top_accuracy(LABELS, PROBABILITIES, 5) == 1.0
    assert top_accuracy(LABELS, np.full((500, 4), 0.25), 1) == pytest.approx((LABELS == 0).mean())


def test_interval_of_f1_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    right, wrong_other, wrong_own, other = 0.25, 0.05, 0.08, 0.62
    truth = 2 * right / (2 * right + wrong_other + wrong_own)
    held = []
    for _ in range(1000):
        tp, fp, fn, tn = rng.multinomial(200, (right, wrong_other, wrong_own, other))
        [_, second] = class_metrics(np.array([[tn, fp], [fn, tp]]), np.zeros(1, int), np.ones((1, 2)))
        held.append(second.f1_ci95[0] <= truth <= second.f1_ci95[1])
    assert np.mean(held) == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize(("classes", "n", "accuracy"), [(2, 300, 0.95), (10, 2000, 0.8)])
def test_interval_of_macro_f1_holds_the_truth_as_often_as_it_says(classes: int, n: int, accuracy: float) -> None:
    rng = np.random.default_rng(3)
    shares = np.full((classes, classes), (1 - accuracy) / (classes - 1) / classes)
    np.fill_diagonal(shares, accuracy / classes)
    held = []
    for _ in range(300):
        confusion = rng.multinomial(n, shares.ravel()).reshape(classes, classes)
        labels, predicted = (np.repeat(part, confusion.ravel()) for part in np.indices(confusion.shape).reshape(2, -1))
        macro = compute_metrics(labels, np.eye(classes)[predicted], tuple(map(str, range(classes)))).macro
        held.append(macro.f1_ci95[0] <= accuracy <= macro.f1_ci95[1])
    assert np.mean(held) >= 0.92


def test_calibration_error_by_luck_shrinks_with_the_number_of_pictures() -> None:
    sure = np.tile([0.8, 0.2], (4000, 1))
    assert calibration_error_by_luck(sure[:40]) > 0.08
    assert calibration_error_by_luck(sure) < 0.02


def test_reliability_joins_small_groups() -> None:
    bins = reliability(LABELS, PROBABILITIES, least=60)
    assert all(b.n >= 60 for b in bins)
    assert sum(b.n for b in bins) == 500


def test_class_with_no_picture_has_no_curve() -> None:
    found = compute_metrics(np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]), ("a", "b"))
    assert found.per_class["a"].auroc is None
    assert found.per_class["b"].recall_ci95 == (0.0, 1.0)
    assert found.macro.recall == 1.0


def test_reliability_counts_every_picture_once() -> None:
    bins = reliability(LABELS, PROBABILITIES)
    assert sum(b.n for b in bins) == 500
    assert sum(b.accuracy * b.n for b in bins) == pytest.approx((PREDICTED == LABELS).sum())


def test_class_that_is_never_named_counts_as_zero() -> None:
    labels, probabilities = np.array([0, 0, 1]), np.array([[0.9, 0.1]] * 3)
    [a, b] = class_metrics(confusion_matrix(labels, np.array([0, 0, 0]), 2), labels, probabilities)
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
        compute_metrics(np.array([], int), np.empty((0, 2)), ("a", "b"))


def some_figures() -> Metrics:
    rng = np.random.default_rng(0)
    return compute_metrics(rng.integers(0, 3, 60), rng.dirichlet(np.ones(3), 60), ("a", "b", "c"))


def test_figures_survive_json() -> None:
    assert Metrics.from_json(json.loads(json.dumps(some_figures().to_json()))) == some_figures()


def test_figures_of_older_models_have_no_reliability_diagram() -> None:
    value = some_figures().to_json()
    del value["reliability"]
    assert Metrics.from_json(value).reliability == []


@pytest.mark.parametrize(
    "changed",
    [
        {"accuracy": 1.5},
        {"accuracy": float("nan")},
        {"loss": "much"},
        {"loss": float("inf")},
        {"n": -1},
        {"accuracy_ci95": [0.1]},
        {"accuracy_ci95": [0.9, 0.1]},
        {"accuracy": 0.999},
        {"n": 10**9},
        {"confusion": [[1, 2], [3, 4]]},
        {"per_class": {}},
        {"macro": None},
        {"reliability": [{}]},
        {"reliability": [{"confidence": 0.5, "accuracy": 0.5, "n": 10**400}]},
        {"per_class": {c: {**vars(some_figures().per_class[c]), "recall_ci95": None} for c in "abc"}},
        {"per_class": {"a": {"surprise": 0.5}}},
    ],
)
def test_what_is_no_figures_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="these are no test metrics"):
        Metrics.from_json({**some_figures().to_json(), **changed})
