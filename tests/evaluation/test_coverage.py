from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from whatsit.evaluation.evaluate import Coverage, measure_coverage
from whatsit.evaluation.metrics import wilson_interval


def coverage(promised: float, held: int, n: int, size: float = 1.0, *, single: bool = True) -> Coverage:
    return Coverage(promised, held / n, wilson_interval(held, n), size, single)


def test_single_answer_that_holds_keeps_the_promise() -> None:
    assert coverage(0.8, 30, 36).note(5) == "the single answer already keeps this promise"
    assert coverage(0.8, 25, 30).note(5) == "the single answer already keeps this promise"


def test_promise_that_the_measured_interval_excludes_is_not_called_kept() -> None:
    """24 of 36 are 66.7 %, 50.3 to 79.8 %: less than 80 %."""
    assert coverage(0.8, 24, 36).note(5) == (
        "the single answer kept this promise on the validation pictures, but not on the test pictures"
    )
    assert coverage(0.8, 24, 36, single=False).note(5) == "not kept on the test pictures"
    assert coverage(0.8, 24, 36, size=1.4, single=False).note(5) == "not kept on the test pictures"


def test_single_answer_that_validation_does_not_bear_out_is_not_called_enough() -> None:
    assert coverage(0.8, 30, 36, single=False).note(5) == ""


def test_sets_of_every_class_and_of_some() -> None:
    assert coverage(0.99, 36, 36, size=5).note(5) == "every class: too few validation pictures to promise so much"
    assert coverage(0.9, 34, 36, size=1.3).note(5) == ""


def test_validation_says_which_promises_the_single_answer_keeps() -> None:
    probabilities = np.full((10, 2), (0.9, 0.1), np.float32)
    predictor = SimpleNamespace(
        bundle=SimpleNamespace(conformal=True), in_set=lambda probabilities, promise: probabilities > 0.5
    )
    test = SimpleNamespace(probabilities=probabilities, labels=np.zeros(10, int))
    right = (
        np.arange(40) < 36
    )  # 90 % of the validation images; with the new one 33 of 41 are needed for 80 %, 37 for 90 %
    found = measure_coverage(cast(Any, predictor), cast(Any, test), right)
    assert [(row.promised, row.single) for row in found] == [(0.8, True), (0.9, False), (0.95, False), (0.99, False)]
