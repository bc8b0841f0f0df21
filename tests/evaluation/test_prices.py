"""What mistakes cost on test pictures, and the weights that keep promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from whatsit.bundle.costs import Costs, Prices, rounded
from whatsit.evaluation.evaluate import Evaluation
from whatsit.evaluation.metrics import wilson_interval
from whatsit.evaluation.prices import CostMetrics, fit_costs, mean_cost, measure_costs, needed_to_show
from whatsit.images.pictures import Pictures

CLASSES = ("edible", "other", "poisonous")


def evaluation(count: int, seed: int = 0, costs: Costs | None = None) -> Evaluation:
    """Calibrated probabilities: each picture is truly of a class with just its probability."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(3, 0.4), count)
    labels = np.array([rng.choice(3, p=row) for row in probabilities])
    none = np.zeros(count, bool)
    return Evaluation(CLASSES, Pictures.of(()), labels, probabilities, np.full(count, np.nan), none, [], costs)


def costs_of(prices: Prices) -> Costs:
    return Costs(rounded(prices.decisive(CLASSES, {})), prices)


def test_calibrated_probabilities_make_the_priced_answers_the_cheaper_ones() -> None:
    found = measure_costs(evaluation(5000, costs=costs_of(Prices(prices={("poisonous", "edible"): 100.0}))))
    assert found is not None
    assert found.cost < found.most_probable_cost / 2
    assert found.saved == pytest.approx(found.most_probable_cost - found.cost)
    assert found.saved_ci95[0] > 0
    assert found.accuracy < found.most_probable_accuracy
    assert found.changed > 0


def test_a_model_without_costs_has_none_to_measure() -> None:
    assert measure_costs(evaluation(10)) is None


@pytest.mark.parametrize("limit", [0.02, 0.1])
def test_a_promise_holds_on_the_pictures_that_it_was_chosen_by_and_on_new_ones(limit: float) -> None:
    costs = fit_costs(Prices(never_miss={"poisonous": limit}), evaluation(3000))
    [promise] = costs.promises
    assert promise.is_made
    assert (promise.missed + 1) / (promise.n + 1) <= limit
    found = measure_costs(evaluation(3000, seed=1, costs=costs))
    assert found is not None
    [kept] = found.promises
    assert kept.share < 2 * limit
    assert kept.state in ("shown", "not contradicted", "broken")


def test_the_weight_is_the_least_that_keeps_the_promise() -> None:
    seen, prices = evaluation(3000), Prices(never_miss={"poisonous": 0.05})
    [promise] = fit_costs(prices, seen).promises
    lighter = Costs(rounded(prices.decisive(CLASSES, {"poisonous": promise.weight / 1.01})), prices)
    own = seen.labels == 2
    missed = int((lighter.answers(seen.probabilities[own]) != 2).sum())
    assert (missed + 1) / (promise.n + 1) > 0.05


def test_promises_of_two_classes_are_kept_together() -> None:
    costs = fit_costs(Prices(never_miss={"poisonous": 0.2, "other": 0.3}), evaluation(2000))
    assert [promise.is_made for promise in costs.promises] == [True, True]


def test_a_promise_that_is_kept_anyway_changes_no_answer() -> None:
    seen = evaluation(2000)
    costs = fit_costs(Prices(never_miss={"poisonous": 0.9}), seen)
    assert costs.promises[0].weight == 1.0
    assert (costs.answers(seen.probabilities) == seen.probabilities.argmax(axis=1)).all()


def test_too_few_pictures_promise_nothing_and_miss_none() -> None:
    seen = evaluation(60)
    [promise] = fit_costs(Prices(never_miss={"poisonous": 0.01}), seen).promises
    assert (promise.missed, promise.is_made, promise.needed) == (0, False, 99)
    assert "cannot be promised by" in promise.sentence


def test_a_class_without_validation_pictures_is_promised_nothing() -> None:
    seen = evaluation(60)
    seen = replace(seen, labels=np.where(seen.labels == 2, 1, seen.labels))
    [promise] = fit_costs(Prices(never_miss={"poisonous": 0.5}), seen).promises
    assert (promise.n, promise.is_made) == (0, False)


def test_a_threshold_holds_beside_a_promise() -> None:
    seen = evaluation(3000)
    costs = fit_costs(Prices(never_miss={"poisonous": 0.02}, only_from={"edible": 0.9}), seen)
    answered = costs.answers(seen.probabilities) == 0
    assert answered.any()
    assert seen.probabilities[answered, 0].min() >= 0.9 - 1e-4
    assert costs.promises[0].is_made


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2])
def test_the_interval_of_a_mean_cost_holds_its_truth(share: float) -> None:
    """In 95 of 100 draws at least, less a margin for 400 draws (3.3 standard errors)."""
    rng = np.random.default_rng(0)
    prices, chances = np.array([0.0, 1.0, 50.0]), np.array([0.9 - share, 0.1, share])
    inside = 0
    for _ in range(400):
        _, (low, high) = mean_cost(rng.choice(prices, 200, p=chances), (1.0, 50.0))
        inside += low <= prices @ chances <= high
    assert inside / 400 >= 0.95 - 3.3 * np.sqrt(0.05 * 0.95 / 400)


def test_a_high_price_that_nobody_paid_is_in_the_interval() -> None:
    mean, (low, high) = mean_cost(np.zeros(100), (100.0,))
    assert (mean, low) == (0.0, 0.0)
    assert high == pytest.approx(100 * wilson_interval(0, 100)[1])


def test_the_interval_of_a_mean_of_one_price_is_that_of_a_share() -> None:
    paid = np.array([1.0] * 7 + [0.0] * 93)
    assert mean_cost(paid)[1] == pytest.approx(wilson_interval(7, 100))


def test_enough_test_pictures_show_a_limit() -> None:
    enough = needed_to_show(0.01)
    assert wilson_interval(0, enough)[1] <= 0.01
    assert wilson_interval(0, enough - 2)[1] > 0.01


@pytest.mark.parametrize(
    ("missed", "n", "state"),
    [(0, 1000, "shown"), (0, 50, "not contradicted"), (5, 100, "broken"), (0, 0, "untested")],
)
def test_what_test_pictures_prove_is_said(missed: int, n: int, state: str) -> None:
    costs = fit_costs(Prices(never_miss={"poisonous": 0.01}), evaluation(3000))
    found = measure_costs(evaluation(100, costs=costs))
    assert found is not None
    kept = replace(found.promises[0], missed=missed, n=n, missed_ci95=wilson_interval(missed, n))
    assert kept.state == state
    assert "'poisonous'" in kept.sentence


def test_metrics_of_costs_survive_json() -> None:
    costs = fit_costs(Prices(never_miss={"poisonous": 0.1}), evaluation(300))
    found = measure_costs(evaluation(300, seed=1, costs=costs))
    assert found is not None
    assert CostMetrics.from_json(found.to_json()) == found


@pytest.mark.parametrize("value", [None, [], {}, {"cost": "much"}, {"cost": float("nan")}])
def test_other_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="these are no metrics of costs"):
        CostMetrics.from_json(value)
