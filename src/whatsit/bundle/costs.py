"""What mistakes cost, and the answer that costs least.

`costs[truth][answer]` is a matrix with zeros on its diagonal. Answered is the class of the least expected cost under the
calibrated probabilities (Elkan 2001, "The foundations of cost-sensitive learning"). Thresholds and promises are cells of it too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from whatsit.arrays import Float64, Int64, Probabilities

Matrix = tuple[tuple[float, ...], ...]  # [truth][answer]

MOST_CLASSES = 1_000  # a matrix of a million prices
HIGHEST = 1e6  # of a price
HEAVIEST = 1e6  # of the weight of a class that is not to be missed
MOST_LINES = 20  # about prices, in a text
EVERY = "*"  # in place of a class
_TIE = 1e-9  # relative difference of expected costs that counts as none


@dataclass(frozen=True)
class Prices:
    """What a person says of mistakes: the contents of `costs.toml`, checked."""

    default: float = 1.0  # of a mistake that is not named
    prices: Mapping[tuple[str, str], float] = field(default_factory=dict)  # by (truth, answer); either may be EVERY
    never_miss: Mapping[str, float] = field(default_factory=dict)  # the largest share of a class that may be missed
    only_from: Mapping[str, float] = field(default_factory=dict)  # a class is never answered below this probability
    always_from: Mapping[str, float] = field(default_factory=dict)  # and always from this one on

    def matrix(self, classes: Sequence[str]) -> Float64:
        """Return the prices alone, `[truth, answer]`: what is paid for mistakes."""
        costs = np.full((len(classes), len(classes)), float(self.default))
        # A price for every class is less special than one for a pair.
        for truth, answer in sorted(self.prices, key=lambda pair: pair.count(EVERY), reverse=True):
            row = slice(None) if truth == EVERY else classes.index(truth)
            column = slice(None) if answer == EVERY else classes.index(answer)
            costs[row, column] = self.prices[truth, answer]
        np.fill_diagonal(costs, 0.0)
        return costs

    def decisive(self, classes: Sequence[str], weights: Mapping[str, float]) -> Float64:
        """Return the matrix by which the answer is chosen, `[truth, answer]`.

        It is that of the prices, and

        - the row of a class that is not to be missed is multiplied by its weight;
        - a class X that is always answered from t on has at least `M (1 - t) / t` in its row, M the largest price of answering X:
          answering X costs at most (1 - p) M, any other class at least p times the price in the row;
        - a class X that is only answered from t on has at least `U / (1 - t)` in its column, U the least that always giving one
          other answer may cost: answering X costs at least (1 - p) times the price in the column. With two classes it is
          `U t / (1 - t)`, exactly at t; with more, X is answered from between t and 1 / (2 - t) on, by how the rest is spread.
        """
        costs = self.matrix(classes)
        highest = costs.max(axis=0)
        for label, weight in weights.items():
            costs[classes.index(label)] *= weight
        for label, least in self.always_from.items():
            row = classes.index(label)
            costs[row] = np.maximum(costs[row], highest[row] * (1 - least) / least)
            costs[row, row] = 0.0
        for label, least in self.only_from.items():
            column = classes.index(label)
            other = min(costs[:, k].max() for k in range(len(classes)) if k != column)
            factor = least if len(classes) == 2 else 1.0
            costs[:, column] = np.maximum(costs[:, column], other * factor / (1 - least))
            costs[column, column] = 0.0
        return costs

    def renamed(self, new: Mapping[str, str]) -> Prices:
        """Return the same for classes with other names."""
        names = {**new, EVERY: EVERY}
        parts = {
            name: {new[label]: value for label, value in getattr(self, name).items()}
            for name in ("never_miss", "only_from", "always_from")
        }
        prices = {(names[truth], names[answer]): price for (truth, answer), price in self.prices.items()}
        return Prices(self.default, prices, **parts)

    def lines(self) -> list[str]:
        """Return it as sentences."""
        every = {EVERY: "any class"}
        lines = [f"any other mistake costs {self.default:g}" if self.prices else f"any mistake costs {self.default:g}"]
        dearest = sorted(self.prices, key=lambda pair: -self.prices[pair])[:MOST_LINES]
        if len(self.prices) > len(dearest):
            lines.insert(0, f"{len(self.prices) - len(dearest):,} more mistakes have lower prices")
        for (truth, answer), price in ((pair, price) for pair, price in self.prices.items() if pair in dearest):
            what, name = (every.get(label, f"'{label}'") for label in (truth, answer))
            lines.insert(-1, f"calling {what} {name} costs {price:g}")
        lines += [
            f"at most {limit_words(limit)} of '{label}' may be missed" for label, limit in self.never_miss.items()
        ]
        lines += [f"'{label}' is never answered below {100 * t:g} %" for label, t in self.only_from.items()]
        lines += [f"'{label}' is always answered from {100 * t:g} % on" for label, t in self.always_from.items()]
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "default": self.default,
            "prices": [[truth, answer, price] for (truth, answer), price in self.prices.items()],
            "never_miss": dict(self.never_miss),
            "only_from": dict(self.only_from),
            "always_from": dict(self.always_from),
        }


@dataclass(frozen=True)
class Promise:
    """That no more than a share of a class is missed, and the weight for it.

    The weight is the least by which `(missed + 1) / (n + 1)` of the validation pictures of the class is within the limit, so that
    a new picture of it is missed with no larger chance (conformal risk control, Angelopoulos et al. 2022).
    """

    label: str
    limit: float  # the largest share that may be missed, 0 to 1
    weight: float  # of the row of the class, 1 or more
    missed: int  # of the validation pictures of the class
    n: int  # how many there are

    @property
    def needed(self) -> int:
        """How many validation pictures the limit needs at least."""
        return math.ceil(1 / self.limit - 1e-9) - 1

    @property
    def is_made(self) -> bool:
        """Whether the validation pictures allow this promise."""
        return (self.missed + 1) / (self.n + 1) <= self.limit + 1e-12

    @property
    def sentence(self) -> str:
        """Say what was chosen, and whether it can be promised."""
        aim = f"'{self.label}': at most {limit_words(self.limit)} may be missed"
        seen = (
            f"{self.missed:,} of {self.n:,} validation pictures are missed, a mistake counting {self.weight:.4g} times"
        )
        if self.is_made:
            return f"{aim}; {seen}"
        if self.n < self.needed:
            return f"{aim}; this cannot be promised by {self.n:,} validation pictures of it ({self.needed:,} are needed); {seen}"
        return f"{aim}; no weight keeps this on the validation pictures: {seen}"


def limit_words(limit: float) -> str:
    """Return a share such as `1 in 100`."""
    one_in = 1 / limit
    return f"1 in {one_in:,.0f}" if abs(one_in - round(one_in)) < 1e-6 * one_in else f"{100 * limit:g} %"


@dataclass(frozen=True)
class Costs:
    """The costs in a bundle."""

    matrix: Matrix  # by which the answer is chosen
    given: Prices  # by which mistakes are paid
    promises: tuple[Promise, ...] = ()

    @cached_property
    def _matrix(self) -> Float64:
        return np.array(self.matrix, np.float64)

    def expected(self, probabilities: Probabilities) -> Float64:
        """Return the expected cost of each answer, `[N, K]`, from probabilities `[N, K]`."""
        return np.asarray(probabilities, np.float64) @ self._matrix

    def answers(self, probabilities: Probabilities) -> Int64:
        """Return the numbers of the classes to answer, `[N]`.

        Of those that cost the same it is the most probable one.
        """
        return cheapest(self._matrix, probabilities)

    def near_tie(self, probabilities: Probabilities, tolerance: float) -> bool:
        """Return whether two answers for probabilities `[K]` cost about the same.

        `tolerance` is relative to the least cost.
        """
        first, second = np.partition(self.expected(probabilities[None])[0], 1)[:2]
        return bool(second - first <= tolerance * abs(first) + 1e-9)

    def renamed(self, new: Mapping[str, str]) -> Costs:
        """Return the same for classes with other names, in the same order."""
        promises = tuple(replace(one, label=new[one.label]) for one in self.promises)
        return Costs(self.matrix, self.given.renamed(new), promises)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "matrix": [list(row) for row in self.matrix],
            "given": self.given.to_json(),
            "promises": [vars(promise) for promise in self.promises],
        }


def cheapest(matrix: Float64, probabilities: Probabilities) -> Int64:
    """Return the numbers of the classes that cost least, as `Costs.answers`."""
    expected = np.asarray(probabilities, np.float64) @ matrix
    least = expected.min(axis=1, keepdims=True)
    cheap = expected <= least + _TIE * np.abs(least) + 1e-12
    return np.asarray(np.where(cheap, probabilities, -np.inf).argmax(axis=1), np.int64)


def decide(costs: Costs | None, probabilities: Probabilities) -> Int64:
    """Return the numbers of the classes to answer, `[N]`.

    Without costs they are the most probable ones.
    """
    return np.asarray(probabilities.argmax(axis=1), np.int64) if costs is None else costs.answers(probabilities)


def rounded(costs: Float64) -> Matrix:
    """Return a matrix as a bundle holds it: with 6 digits."""
    return tuple(tuple(float(f"{price:.6g}") for price in row) for row in costs)
