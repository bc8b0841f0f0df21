"""Two models on the same pictures: what one is right on and the other is not."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from whatsit.arrays import Bools
from whatsit.evaluation.evaluate import Evaluation
from whatsit.evaluation.metrics import Z95, Interval


@dataclass(frozen=True)
class Paired:
    """Two models on the same pictures, the second against the first."""

    n: int
    first: float  # accuracy
    second: float
    lost: int  # pictures that only the first is right on
    won: int  # pictures that only the second is right on

    @property
    def difference(self) -> float:
        """The second accuracy minus the first."""
        return (self.won - self.lost) / self.n

    @property
    def ci95(self) -> Interval:
        """The 95 % interval of the difference (Bonett and Price 2012)."""
        won, lost, n = self.won + 1, self.lost + 1, self.n + 2
        middle = (won - lost) / n
        half = Z95 * math.sqrt(max((won + lost) / n - middle**2, 0.0) / n)
        return max(middle - half, -1.0), min(middle + half, 1.0)

    @property
    def p_value(self) -> float:
        """The chance of a difference like this, or a larger one, between equals.

        By the exact test of McNemar (1947), two-sided.
        """
        differing, fewer = self.won + self.lost, min(self.won, self.lost)
        logs = [
            math.lgamma(differing + 1) - math.lgamma(k + 1) - math.lgamma(differing - k + 1) - differing * math.log(2)
            for k in range(fewer + 1)
        ]
        return min(1.0, 2 * math.fsum(map(math.exp, logs)))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**vars(self), "difference": self.difference, "ci95": list(self.ci95), "p_value": self.p_value}


def paired(first: Bools, second: Bools) -> Paired:
    """Compare which pictures two models are right on, each `[N]`.

    Raises `ValueError` for none.
    """
    if not len(first):
        raise ValueError("no pictures to compare on")
    won, lost = int((second & ~first).sum()), int((first & ~second).sum())
    return Paired(len(first), float(first.mean()), float(second.mean()), lost, won)


@dataclass(frozen=True)
class Differing:
    """A picture that two models name differently."""

    name: str
    label: str  # what it truly is
    first: str
    second: str
    first_probability: float  # of the class that it names
    second_probability: float

    @property
    def kind(self) -> str:
        """`lost`, `won`, or `both wrong`."""
        return "lost" if self.first == self.label else "won" if self.second == self.label else "both wrong"


@dataclass(frozen=True)
class ModelComparison:
    """Two models on the same pictures."""

    models: tuple[str, str]
    overall: Paired
    per_class: dict[str, Paired]  # of the pictures of each class: recall
    agreement: float  # share of the pictures that both name the same
    unknown: tuple[int, int]  # pictures that each calls unknown
    differing: list[Differing]  # the surest of each kind first: lost, won, both wrong

    @property
    def clear_classes(self) -> dict[str, Paired]:
        """The classes of which the models find clearly different shares.

        By the tests of all classes together (Holm 1979), at 5 %.
        """
        rows = sorted(self.per_class.items(), key=lambda row: row[1].p_value)
        tests = enumerate(rows)
        clear = itertools.takewhile(lambda test: test[1][1].p_value * (len(rows) - test[0]) < 0.05, tests)
        return {label: one for _, (label, one) in clear}

    @property
    def verdict(self) -> str:
        """Who is better, for people: in all, and in single classes."""
        paired, (low, high) = self.overall, self.overall.ci95
        interval = f"95 % interval {100 * low:+.2f} to {100 * high:+.2f}"
        found = f"{100 * paired.difference:+.2f} points ({interval}, p = {paired.p_value:.2g})"
        if clear := self.clear_classes if len(self.per_class) > 1 else {}:
            some = [f"{label} {100 * one.difference:+.1f} points" for label, one in [*clear.items()][:5]]
            found += f"; clearly different in {', '.join(some)}{', ...' if len(clear) > 5 else ''}"
        if paired.p_value >= 0.05 or low <= 0 <= high:
            return f"No clear difference on these {paired.n:,} pictures: {found}"
        return f"{self.models[paired.difference > 0]} is better on these {paired.n:,} pictures: {found}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "models": list(self.models),
            "overall": self.overall.to_json(),
            "per_class": {label: one.to_json() for label, one in self.per_class.items()},
            "agreement": self.agreement,
            "unknown": list(self.unknown),
            "verdict": self.verdict,
            "differing": [{**vars(one), "kind": one.kind} for one in self.differing],
        }


def compare_evaluations(models: tuple[str, str], first: Evaluation, second: Evaluation) -> ModelComparison:
    """Compare evaluations of the same pictures; the classes may be others.

    Pictures that only one could read are left out. Raises `ValueError` where none are left.
    """
    places = {name: place for place, name in enumerate(second.pictures.names())}
    both = [(place, places[name]) for place, name in enumerate(first.pictures.names()) if name in places]
    a, b = (np.array([pair[side] for pair in both], int) for side in (0, 1))
    labels = [first.classes[number] for number in first.labels[a]]
    named = [[one.classes[number] for number in one.predicted[rows]] for one, rows in ((first, a), (second, b))]
    right = [np.array([name == label for name, label in zip(names, labels, strict=True)], bool) for names in named]
    overall = paired(right[0], right[1])
    truth = np.array(labels)
    per_class = {str(label): paired(right[0][truth == label], right[1][truth == label]) for label in sorted({*labels})}
    differing = [
        Differing(
            first.pictures[a[place]].name, labels[place], named[0][place], named[1][place],
            float(first.probabilities[a[place], first.predicted[a[place]]]),
            float(second.probabilities[b[place], second.predicted[b[place]]]),
        )
        for place in range(len(both)) if named[0][place] != named[1][place]
    ]  # fmt: skip
    order = {"lost": 0, "won": 1, "both wrong": 2}
    differing.sort(key=lambda one: (order[one.kind], -max(one.first_probability, one.second_probability)))
    unknown = int(first.unknown[a].sum()), int(second.unknown[b].sum())
    return ModelComparison(models, overall, per_class, 1 - len(differing) / len(both), unknown, differing)
