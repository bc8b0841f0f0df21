from __future__ import annotations

import numpy as np
import pytest

from whatsit.evaluation.gate import Gate, compare


@pytest.mark.parametrize(
    ("accuracy", "agreement", "passed"), [(0.9, 0.98, True), (0.899, 1.0, False), (0.95, 0.97, False)]
)
def test_it_opens_for_small_changes_only(accuracy: float, agreement: float, passed: bool) -> None:
    assert Gate(accuracy, 0.91, agreement, 0.2, 1000).passed is passed


@pytest.mark.parametrize("difference", [float("nan"), float("inf")])
def test_it_stays_shut_where_answers_are_no_numbers(difference: float) -> None:
    assert not Gate(0.91, 0.91, 1.0, difference, 1000).passed


def test_it_counts_what_is_right_and_what_is_alike() -> None:
    labels = np.array([0, 1, 1, 0])
    by_float = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]], np.float32)
    found = np.array([[0.9, 0.1], [0.6, 0.4], [0.4, 0.6], [0.7, 0.3]], np.float32)
    gate = compare(labels, found, by_float)
    assert (gate.accuracy, gate.float_accuracy, gate.agreement, gate.n) == (0.75, 0.75, 0.5, 4)
    assert gate.max_difference == pytest.approx(0.4)
    assert gate.loss == 0.0
