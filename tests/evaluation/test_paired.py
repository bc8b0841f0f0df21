"""Two models on the same pictures."""

from __future__ import annotations

import numpy as np
import pytest

from whatsit.evaluation.paired import ModelComparison, Paired, paired


def test_pairs_are_counted() -> None:
    first, second = np.array([1, 1, 1, 0, 0], bool), np.array([1, 0, 0, 1, 0], bool)
    assert paired(first, second) == Paired(5, 0.6, 0.4, lost=2, won=1)


@pytest.mark.parametrize(
    ("won", "lost", "p"), [(0, 0, 1.0), (5, 5, 1.0), (8, 0, 0.0078125), (9, 1, 0.021484375), (60, 40, 0.056887933)]
)
def test_p_is_that_of_the_exact_binomial_test(won: int, lost: int, p: float) -> None:
    assert Paired(1000, 0.5, 0.5, lost, won).p_value == pytest.approx(p, rel=1e-6)


def test_interval_of_pairs_holds_the_truth_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(2000):
        kinds = rng.multinomial(150, [0.80, 0.09, 0.04, 0.07])  # both right, only the second, only the first, neither
        low, high = Paired(150, 0.0, 0.0, lost=int(kinds[2]), won=int(kinds[1])).ci95
        inside.append(low <= 0.05 <= high)
    assert 0.93 <= np.mean(inside) <= 0.98


def test_interval_is_narrower_than_that_of_two_samples() -> None:
    from whatsit.run.compare import difference_interval

    low, high = Paired(200, 0.90, 0.92, lost=4, won=8).ci95
    alone = difference_interval((180, 200), (184, 200))
    assert high - low < alone[1] - alone[0]


def _comparison(**classes: tuple[int, int, int]) -> ModelComparison:
    """Classes by the number of pictures, of lost and of won ones."""
    per_class = {label: Paired(n, 0.5, 0.5, lost, won) for label, (n, lost, won) in classes.items()}
    n, lost, won = (sum(row[k] for row in classes.values()) for k in range(3))
    return ModelComparison(("before", "now"), Paired(n, 0.5, 0.5, lost, won), per_class, 0.9, (0, 0), [])


def test_class_that_is_clearly_worse_is_named_where_the_others_make_up_for_it() -> None:
    found = _comparison(dandelion=(158, 15, 0), rose=(117, 10, 20), tulip=(147, 8, 14))
    assert list(found.clear_classes) == ["dandelion"]
    assert found.verdict.startswith("No clear difference")
    assert "clearly different in dandelion -9.5 points" in found.verdict


def test_of_many_classes_one_that_differs_by_luck_is_not_named() -> None:
    classes = {f"class{k}": (50, 3, 3) for k in range(20)} | {"lucky": (50, 0, 6)}  # p = 0.03
    assert _comparison(**classes).clear_classes == {}
