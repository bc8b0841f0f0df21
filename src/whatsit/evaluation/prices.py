"""What mistakes cost on test pictures, and the weights that keep promises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from whatsit.arrays import Float64, Labels, Probabilities
from whatsit.bundle.costs import HEAVIEST, Costs, Prices, Promise, cheapest, decide, limit_words, rounded
from whatsit.evaluation.evaluate import Evaluation
from whatsit.evaluation.metrics import Interval, wilson_interval
from whatsit.runtime.wording import percent

_ROUNDS = 8  # of choosing the weights of several classes, which depend on each other
_STEPS = 40  # of halving the logarithm of a weight
_SLACK = 1.0005  # times the weight that just does, as other runtimes round otherwise


@dataclass(frozen=True)
class PromiseKept:
    """How a promise did on test pictures."""

    label: str
    limit: float
    missed: int
    n: int  # test pictures of the class
    missed_ci95: Interval  # of the share that is missed (Wilson 1927)
    made: bool  # whether the validation pictures were enough to promise it

    @property
    def share(self) -> float:
        """Return the share that is missed; 0 without pictures."""
        return self.missed / self.n if self.n else 0.0

    @property
    def state(self) -> str:
        """`shown`, `not contradicted`, `broken`, or `untested`."""
        if not self.n:
            return "untested"
        if self.share > self.limit:
            return "broken"
        return "shown" if self.missed_ci95[1] <= self.limit else "not contradicted"

    @property
    def sentence(self) -> str:
        """Say what was found, and what it proves."""
        if not self.n:
            return f"'{self.label}': no test pictures, so it is not known how many are missed"
        aim, (low, high) = limit_words(self.limit), self.missed_ci95
        found = f"'{self.label}': {self.missed:,} of {self.n:,} test pictures are missed ({percent(self.share)}, 95 % interval "
        found += f"{percent(low)} to {percent(high)}), where {aim} is wanted"
        enough = needed_to_show(self.limit)
        more = f"; to show {aim} with none missed, {enough:,} test pictures of it are needed" if self.n < enough else ""
        return {
            "broken": f"{found}: more than wanted",
            "shown": f"{found}: within it",
            "not contradicted": f"{found}: within it, but not certain{more}",
        }[self.state]


@dataclass(frozen=True)
class CostMetrics:
    """What mistakes cost per picture, with costs and by the most probable classes."""

    cost: float
    cost_ci95: Interval
    most_probable_cost: float  # if the most probable class were always answered
    most_probable_cost_ci95: Interval
    saved: float  # the second less the first
    saved_ci95: Interval  # of the pairs
    accuracy: float
    most_probable_accuracy: float
    changed: int  # pictures for which the answer is not the most probable class
    n: int
    promises: tuple[PromiseKept, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        found = asdict(self)
        for promise, row in zip(self.promises, found["promises"], strict=True):
            row |= {"share": promise.share, "state": promise.state}
        return found

    @classmethod
    def from_json(cls, value: Any) -> CostMetrics:
        """Read what `to_json` returned. Raises `ValueError` for anything else."""
        try:
            numbers = {name: float(value[name]) for name in ("cost", "most_probable_cost", "saved")}
            shares = {name: float(value[name]) for name in ("accuracy", "most_probable_accuracy")}
            intervals = {f"{name}_ci95": _interval(value[f"{name}_ci95"]) for name in numbers}
            promises = tuple(
                PromiseKept(
                    str(row["label"]), float(row["limit"]), int(row["missed"]), int(row["n"]),
                    _interval(row["missed_ci95"]), bool(row["made"]),
                )
                for row in value["promises"]
            )  # fmt: skip
            sound = all(0 < one.limit < 1 and 0 <= one.missed <= one.n < 2**53 for one in promises)
            if (
                not sound
                or not all(map(math.isfinite, numbers.values()))
                or not all(0 <= s <= 1 for s in shares.values())
            ):
                raise ValueError("a number is out of range")
            counts = {name: int(value[name]) for name in ("changed", "n")}
            return cls(**numbers, **shares, **intervals, **counts, promises=promises)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"these are no metrics of costs: {type(error).__name__} {str(error)[:100]}") from None


def _interval(value: Any) -> Interval:
    low, high = (float(end) for end in value)
    if not -math.inf < low <= high < math.inf:
        raise ValueError("an interval is out of range")
    return low, high


def cost_words(cost: float, interval: Interval) -> str:
    """Return a cost per picture with its interval."""
    low, high = interval
    return f"{cost:.3g} (95 % interval {low:.3g} to {high:.3g})"


def needed_to_show(limit: float) -> int:
    """Return how many test pictures, all found, show a limit with 95 % certainty."""
    n = max(1, math.floor(1 / limit))
    while wilson_interval(0, n)[1] > limit:
        n += max(1, n // 200)
    return n


def fit_costs(given: Prices, seen: Evaluation) -> Costs:
    """Return the costs of a model: its prices, and weights that keep its promises.

    `seen` are validation pictures. The weight of a class is the least by which no more of them are missed than the limit allows.
    """
    weights = dict.fromkeys(given.never_miss, 1.0)
    for _ in range(_ROUNDS if len(weights) > 1 else 1):
        before = dict(weights)
        for label, limit in given.never_miss.items():
            weights[label] = _least_weight(given, weights, label, limit, seen)
        if weights == before:
            break
    costs = Costs(rounded(given.decisive(seen.classes, weights)), given)
    promises = []
    for label, limit in given.never_miss.items():
        missed, n = _missed(costs, label, seen.classes, seen.labels, seen.probabilities)
        promises.append(Promise(label, limit, weights[label], missed, n))
    return Costs(costs.matrix, given, tuple(promises))


def _least_weight(given: Prices, weights: dict[str, float], label: str, limit: float, seen: Evaluation) -> float:
    """Return the least weight of a class by which few of its pictures are missed.

    Where none does, it is the least one that misses as few as the heaviest.
    """
    number = seen.classes.index(label)
    shares = seen.probabilities[seen.labels == number]

    def missed(weight: float) -> int:
        matrix = given.decisive(seen.classes, {**weights, label: weight})
        return int((cheapest(matrix, shares) != number).sum())

    allowed = max(math.floor(limit * (len(shares) + 1) - 1 + 1e-9), missed(HEAVIEST))
    if missed(1.0) <= allowed:
        return 1.0
    low, high = 0.0, math.log(HEAVIEST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if missed(math.exp(middle)) <= allowed else (middle, high)
    return min(float(f"{_SLACK * math.exp(high):.6g}"), HEAVIEST)


def _missed(
    costs: Costs, label: str, classes: Sequence[str], labels: Labels, probabilities: Probabilities
) -> tuple[int, int]:
    """Return how many pictures of a class are answered as another one, of how many."""
    number = classes.index(label)
    own = labels == number
    return int((costs.answers(probabilities[own]) != number).sum()), int(own.sum())


def measure_costs(test: Evaluation) -> CostMetrics | None:
    """Return what mistakes cost on test pictures; None for a model without costs."""
    if test.costs is None:
        return None
    prices = test.costs.given.matrix(test.classes)
    probable = decide(None, test.probabilities)
    paid, without = prices[test.labels, test.predicted], prices[test.labels, probable]
    # Prices that were not paid may still be paid by a new picture: they count with the upper end of a share of 0.
    unpaid = [float(price) for price in np.unique(prices[np.unique(test.labels)])]
    cost, cost_ci95 = mean_cost(paid, unpaid)
    other, other_ci95 = mean_cost(without, unpaid)
    saved, saved_ci95 = mean_cost(without - paid)
    made = {promise.label: promise.is_made for promise in test.costs.promises}
    kept = []
    for label, limit in test.costs.given.never_miss.items():
        missed, n = _missed(test.costs, label, test.classes, test.labels, test.probabilities)
        kept.append(PromiseKept(label, limit, missed, n, wilson_interval(missed, n), made.get(label, False)))
    return CostMetrics(
        cost=cost,
        cost_ci95=cost_ci95,
        most_probable_cost=other,
        most_probable_cost_ci95=other_ci95,
        saved=saved,
        saved_ci95=saved_ci95,
        accuracy=float(test.right.mean()),
        most_probable_accuracy=float((probable == test.labels).mean()),
        changed=int((probable != test.predicted).sum()),
        n=len(test.labels),
        promises=tuple(kept),
    )


def mean_cost(paid: Float64, possible: Sequence[float] = ()) -> tuple[float, Interval]:
    """Return the mean of what is paid for each picture, with its 95 % interval.

    The shares of pictures that pay each price have intervals of Wilson (1927), which are combined by the method of variance
    estimates recovery (MOVER, Zou & Donner 2008): so a high price that few pictures paid, or none, is counted, which a bootstrap
    of the pictures does not.

    Args:
        paid: a price for each picture, `[N]`.
        possible: prices that a picture may pay besides.
    """
    prices, counts = np.unique(paid, return_counts=True)
    found = dict.fromkeys((price for price in possible if price), 0) | dict(
        zip(prices.tolist(), counts.tolist(), strict=True)
    )
    mean, below, above = 0.0, 0.0, 0.0
    for price, count in found.items():
        share, (low, high) = count / len(paid), wilson_interval(count, len(paid))
        mean += price * share
        down, up = (low, high) if price > 0 else (high, low)
        below, above = below + (price * (share - down)) ** 2, above + (price * (up - share)) ** 2
    low, high = mean - math.sqrt(below), mean + math.sqrt(above)
    lowest, highest = min([0.0, *found]), max([0.0, *found])
    return mean, (max(low, lowest), min(high, highest))
