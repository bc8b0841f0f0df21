"""Costs of mistakes: what a person writes, the matrix, and the answer that costs least."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whatsit.bundle.costs import Costs, Prices, decide, rounded
from whatsit.bundle.costs_file import costs_from, read_prices
from whatsit.errors import UsageError

MUSHROOMS = ("edible", "other", "poisonous")
TEXT = """
default = 1

[prices]
"poisonous -> edible" = 100
"* -> other" = 2
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "costs.toml"
    path.write_text(text, encoding="utf-8")
    return path


def costs_of(prices: Prices, classes: tuple[str, ...] = MUSHROOMS, **weights: float) -> Costs:
    return Costs(rounded(prices.decisive(classes, weights)), prices)


def some_probabilities(classes: int, count: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.dirichlet(np.full(classes, spread), count) for spread in (0.1, 0.5, 1.0)])


def test_a_file_becomes_a_matrix_of_truth_and_answer(tmp_path: Path) -> None:
    prices = read_prices(written(tmp_path, TEXT), MUSHROOMS)
    assert prices.matrix(MUSHROOMS).tolist() == [[0, 2, 1], [1, 0, 1], [100, 2, 0]]


def test_a_pair_has_its_own_price_wherever_it_stands(tmp_path: Path) -> None:
    text = '[prices]\n"poisonous -> edible" = 100\n"poisonous -> *" = 10\n'
    assert read_prices(written(tmp_path, text), MUSHROOMS).matrix(MUSHROOMS)[2].tolist() == [100, 10, 0]


def test_a_matrix_may_be_written_in_any_order_of_its_classes() -> None:
    table = {"classes": ["poisonous", "edible", "other"], "matrix": [[0, 9, 3], [1, 0, 2], [4, 5, 0]]}
    assert read_prices(table, MUSHROOMS).matrix(MUSHROOMS).tolist() == [[0, 2, 1], [5, 0, 4], [9, 3, 0]]


def test_names_of_classes_may_hold_an_arrow() -> None:
    classes = ("a -> b", "b", "a")
    assert read_prices({"prices": {"a -> b -> a": 7}}, classes).prices == {("a -> b", "a"): 7.0}


def test_the_answer_is_the_class_of_the_least_expected_cost() -> None:
    costs = costs_of(Prices(prices={("poisonous", "edible"): 100.0}))
    shares = np.array([[0.93, 0.0, 0.07], [0.995, 0.0, 0.005]], np.float32)
    assert costs.answers(shares).tolist() == [2, 0]
    assert costs.expected(shares)[0] == pytest.approx([7.0, 1.0, 0.93], abs=1e-6)


def test_equal_prices_answer_the_most_probable_class() -> None:
    shares = some_probabilities(3)
    assert (costs_of(Prices(default=4.0)).answers(shares) == decide(None, shares)).all()


def test_of_equal_costs_the_most_probable_class_is_answered() -> None:
    costs = costs_of(Prices(), ("a", "b"))
    assert costs.answers(np.array([[0.5, 0.5]])).tolist() == [0]
    free = Costs(((0.0, 1.0, 1.0), (1.0, 0.0, 0.0), (1.0, 0.0, 0.0)), Prices())
    assert free.answers(np.array([[0.2, 0.3, 0.5]])).tolist() == [2]


@pytest.mark.parametrize("least", [0.55, 0.8, 0.9, 0.99])
@pytest.mark.parametrize("classes", [("edible", "poisonous"), MUSHROOMS, (*MUSHROOMS, "d", "e", "f")])
def test_a_class_is_never_answered_below_its_threshold(classes: tuple[str, ...], least: float) -> None:
    prices = Prices(prices={("poisonous", "edible"): 20.0, ("edible", "poisonous"): 3.0}, only_from={"edible": least})
    shares = some_probabilities(len(classes))
    answered = costs_of(prices, classes).answers(shares) == 0
    assert answered.any()
    assert shares[answered, 0].min() >= least - 1e-4


def test_without_other_prices_a_class_is_answered_soon_after_its_threshold() -> None:
    shares = some_probabilities(6)
    costs = costs_of(Prices(only_from={"a": 0.9}), tuple("abcdef"))
    assert (costs.answers(shares)[shares[:, 0] > 1 / 1.1 + 1e-4] == 0).all()


def test_with_two_classes_a_threshold_is_exact() -> None:
    costs = costs_of(Prices(only_from={"a": 0.9}), ("a", "b"))
    assert costs.answers(np.array([[0.9001, 0.0999], [0.8999, 0.1001]])).tolist() == [0, 1]


@pytest.mark.parametrize("least", [0.02, 0.2, 0.5])
@pytest.mark.parametrize("classes", [("edible", "poisonous"), MUSHROOMS, (*MUSHROOMS, "d", "e", "f")])
def test_a_class_is_always_answered_from_its_threshold_on(classes: tuple[str, ...], least: float) -> None:
    prices = Prices(
        prices={("edible", "poisonous"): 30.0, ("poisonous", "edible"): 4.0}, always_from={"poisonous": least}
    )
    shares = some_probabilities(len(classes))
    place = classes.index("poisonous")
    answers = costs_of(prices, classes).answers(shares)
    assert (answers[shares[:, place] >= least + 1e-4] == place).all()
    assert (answers != place).any()


def test_the_most_extreme_costs_can_be_read_again() -> None:
    table = {
        "prices": {"poisonous -> edible": 1e6},
        "only_from": {"edible": 1 - 1e-6},
        "always_from": {"other": 1e-6},
        "never_miss": {"poisonous": 1e-6},
    }
    prices = read_prices(table, MUSHROOMS)
    costs = costs_of(prices, poisonous=1e6)
    assert costs_from(costs.to_json(), MUSHROOMS) == costs
    assert np.isfinite(np.array(costs.matrix, np.float32)).all()


def test_prices_survive_json() -> None:
    prices = Prices(2.0, {("poisonous", "*"): 10.0}, {"poisonous": 0.01}, {"edible": 0.9}, {"other": 0.4})
    costs = costs_of(prices, poisonous=3.0)
    assert costs_from(costs.to_json(), MUSHROOMS) == costs


def test_many_prices_are_named_by_the_dearest() -> None:
    classes = [f"class {number}" for number in range(9)]
    prices = {(a, b): 2.0 + i + j for i, a in enumerate(classes) for j, b in enumerate(classes) if a != b}
    lines = Prices(prices=prices).lines()
    assert len(lines) == 22
    assert "calling 'class 8' 'class 7' costs 17" in lines
    assert "52 more mistakes have lower prices" in lines


BAD = [
    (
        {"prices": {"poisonous -> edible": -5}},
        "'poisonous -> edible' must be a price from 0 to 1,000,000, received '-5'",
    ),
    ({"prices": {"poisonous -> edible": float("nan")}}, "received 'nan'"),
    ({"prices": {"poisonous -> edible": float("inf")}}, "received 'inf'"),
    ({"prices": {"poisonous -> edible": 10**400}}, "received a huge number"),
    ({"prices": {"poisonous -> edible": 1e7}}, "from 0 to 1,000,000"),
    ({"prices": {"poisonous -> edible": True}}, "received 'True'"),
    ({"prices": {"poisonous -> edible": "much"}}, "received 'much'"),
    ({"default": -1}, "'default' must be a price"),
    ({"prices": {"poisonous -> edibel": 5}}, "the model has no class 'edibel'; did you mean 'edible'?"),
    ({"prices": {"poisonous": 5}}, "'poisonous' is no pair of classes; write truth and answer, such as"),
    ({"prices": {"edible -> edible": 5}}, "a right answer costs nothing"),
    ({"prices": {"* -> *": 5}}, "every mistake is 'default'"),
    ({"prices": 5}, "'prices' is a table; write [prices]"),
    ({"price": {}}, "unknown key 'price'; did you mean 'prices'?"),
    ({}, "there is nothing in it"),
    ({"default": 0}, "every price is 0"),
    ({"prices": {"* -> edible": 0}}, "calling everything 'edible' costs nothing"),
    ({"classes": list(MUSHROOMS), "matrix": [[0, 1], [1, 0]]}, "must have 3 rows of 3 prices, one of each for a class"),
    ({"classes": list(MUSHROOMS), "matrix": [[0, 1, 1], [1, 0], [1, 1, 0]]}, "one of them of 2"),
    ({"classes": list(MUSHROOMS), "matrix": [[1, 1, 1], [1, 0, 1], [1, 1, 0]]}, "a right answer costs 0"),
    ({"classes": ["edible", "other"], "matrix": [[0, 1], [1, 0]]}, "the matrix lacks the class 'poisonous'"),
    ({"matrix": [[0, 1], [1, 0]]}, "a matrix needs its classes"),
    ({"never_miss": {"poisonous": 0}}, "must be the largest share that may be missed"),
    ({"never_miss": {"poisonous": "1 in 0"}}, "received '1 in 0'"),
    ({"never_miss": {"poisonous": "often"}}, 'such as "1 in 100" or 0.01'),
    ({"never_miss": {"toadstool": 0.01}}, "the model has no class 'toadstool'"),
    ({"never_miss": {"poisonous": 0.01}, "prices": {"poisonous -> edible": 0}}, "calling it 'edible' costs nothing"),
    ({"only_from": {"edible": 1 - 1e-9}}, "must be a probability between 0 and 1"),
    ({"never_miss": [1]}, "'never_miss' is a table"),
    ({"prices": {3: 4}}, "'prices' has the name '3', which is no text"),
    ({"only_from": {"edible": 1.0}}, "must be a probability between 0 and 1"),
    ({"only_from": {"edible": 0.9}, "always_from": {"edible": 0.1}}, "ask for the opposite"),
    ({"only_from": {"poisonous": 0.9}, "never_miss": {"poisonous": 0.1}}, "is in only_from and in never_miss"),
]


@pytest.mark.parametrize(("table", "message"), BAD)
def test_what_makes_no_sense_is_refused_in_a_line(table: dict, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_prices(table, MUSHROOMS)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_share_may_be_written_in_words() -> None:
    assert read_prices({"never_miss": {"poisonous": "1 in 100"}}, MUSHROOMS).never_miss == {"poisonous": 0.01}


@pytest.mark.parametrize(("text", "message"), [("default = ", "cannot be read"), ("\x00", "cannot be read")])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_prices(written(tmp_path, text), MUSHROOMS)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file of costs"):
        read_prices(tmp_path / "costs.toml", MUSHROOMS)


def test_costs_of_too_many_classes_are_refused() -> None:
    with pytest.raises(UsageError, match="costs are for at most 1,000"):
        read_prices({"default": 1}, [f"class {number}" for number in range(1001)])


@pytest.mark.parametrize(
    "change",
    [
        {"matrix": [[0, 1], [1, 0]]},
        {"matrix": [[0, 1, 1], [1, 0, -1], [1, 1, 0]]},
        {"matrix": [[0, 1, 1], [1, 0, float("nan")], [1, 1, 0]]},
        {"matrix": [[5, 1, 1], [1, 0, 1], [1, 1, 0]]},
        {"matrix": [[0, 0, 1], [1, 0, 1], [1, 0, 0]]},
        {"promises": [{"label": "poisonous", "limit": 0.01, "weight": 0.5, "missed": 0, "n": 9}]},
        {"promises": [{"label": "gone", "limit": 0.01, "weight": 2, "missed": 0, "n": 9}]},
        {"given": {}},
    ],
)
def test_damaged_costs_of_a_bundle_are_refused(change: dict) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        costs_from(costs_of(Prices()).to_json() | change, MUSHROOMS)
