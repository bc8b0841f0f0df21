"""What an update of a model changed: in the data, and in its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whatsit.arrays import Bools
from whatsit.evaluation.comparison_page import Section, sections_of
from whatsit.evaluation.evaluate import Evaluation, evaluate_pictures
from whatsit.evaluation.paired import ModelComparison, Paired, compare_evaluations, paired
from whatsit.events import Reporter
from whatsit.images.pictures import SPLITS, Pictures, find_keys
from whatsit.images.scan import Dataset
from whatsit.runtime.predictor import Predictor

TRAINED_ON = tuple(map(SPLITS.index, ("train", "validation")))
SHOWN = 12  # pictures of a kind in the report
TITLES = {"lost": "Right before, wrong now", "won": "Wrong before, right now", "both wrong": "Wrong both times"}


@dataclass(frozen=True)
class DataChanges:
    """How the pictures differ from those of the run before, by their contents."""

    kept: int
    added: int
    removed: int
    relabelled: int  # of those kept
    new_classes: tuple[str, ...]
    gone_classes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The changes, for people."""
        parts = [f"{self.added:,} new", f"{self.removed:,} gone", f"{self.relabelled:,} with another label"]
        counts = f"pictures: {', '.join(parts)}, {self.kept - self.relabelled:,} as before"
        named = [
            f"{word} class{'es' if len(names) > 1 else ''}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
            for word, names in (("new", self.new_classes), ("removed", self.gone_classes))
            if names
        ]
        return "; ".join([counts, *named])

    @property
    def nothing(self) -> bool:
        """Whether the pictures and their labels are the same."""
        return not (self.added or self.removed or self.relabelled)


def data_changes(earlier: Pictures, now: Pictures) -> DataChanges:
    """Compare the pictures of a run with those of today."""
    places = find_keys(now.keys, earlier.keys)
    kept = places >= 0
    labels = np.array(now.label_names, object)[now.labels[kept]]
    before = np.array(earlier.label_names, object)[earlier.labels[places[kept]]]
    removed = int((find_keys(earlier.keys, now.keys) < 0).sum())
    classes, had = {*now.counts()}, {*earlier.counts()}
    return DataChanges(
        int(kept.sum()), int((~kept).sum()), removed, int((labels != before).sum()),
        tuple(sorted(classes - had)), tuple(sorted(had - classes)),
    )  # fmt: skip


@dataclass(frozen=True)
class Update:
    """A model and the one before it, on test pictures that are new to both."""

    before: str  # the run, as the user named it
    changes: DataChanges
    overall: Paired | None  # of all these pictures; the earlier model is wrong on classes that it does not know
    known: ModelComparison | None  # of the classes that both know; None where there are no pictures of these
    new_classes: dict[str, tuple[int, int]]  # of each class that only the new model knows: found, test pictures
    sections: Sequence[Section] = ()  # the pictures that both name differently, for the report
    kept_as: str = ""  # the folder where the earlier run is now

    @property
    def better(self) -> bool:
        """Whether it is right more often, and clearly less in no old class."""
        if self.overall is None or self.overall.won <= self.overall.lost:
            return False
        known = [self.known.overall, *self.known.clear_classes.values()] if self.known else []
        return not any(one.difference < 0 and one.p_value < 0.05 for one in known)

    @property
    def verdict(self) -> str:
        """What got better and worse, for people."""
        if self.overall is None:
            return f"{self.before} was trained on every test picture, so the two models cannot be compared"
        found = self.known.verdict if self.known else "No test pictures of the classes that both know"
        return "; ".join(
            [found, *(f"new class {label}: {hit} of {n} found" for label, (hit, n) in self.new_classes.items())]
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "before": self.kept_as,
            "changes": vars(self.changes),
            "overall": self.overall.to_json() if self.overall else None,
            "known": self.known.to_json() if self.known else None,
            "new_classes": {label: {"found": hit, "n": n} for label, (hit, n) in self.new_classes.items()},
            "better": self.better,
            "verdict": self.verdict,
        }


def measure_update(
    before: tuple[str, Predictor], test: Evaluation, dataset: Dataset, earlier: Pictures, reporter: Reporter
) -> Update:
    """Compare a new model with the one that it was made from, picture by picture.

    Args:
        before: the earlier model and its name.
        test: of the new model on the test pictures of `dataset`.
        dataset: the new model's.
        earlier: the pictures of the earlier model with their splits; those that it was trained on are left out.
        reporter: gets the stage.
    """
    name, predictor = before
    seen = np.isin(test.pictures.keys, earlier.take(np.isin(earlier.splits, TRAINED_ON)).keys)
    known = np.isin(test.labels, [test.classes.index(one) for one in predictor.classes if one in test.classes])
    both, only_new, comparison = ~seen & known, ~seen & ~known, None
    if both.any():
        stage = reporter.stage(f"Testing {name}, as it was before")
        old = evaluate_pictures(predictor, dataset, test.pictures.take(both), stage)
        comparison = compare_evaluations(("before", "now"), old, test)
    right = test.right[only_new]
    new = {
        label: (int(test.right[rows].sum()), int(rows.sum()))
        for number, label in enumerate(test.classes)
        if (rows := only_new & (test.labels == number)).any()
    }
    sections = sections_of(comparison, dataset, SHOWN, TITLES) if comparison else ()
    overall = None if seen.all() else _added(comparison.overall if comparison else None, right)
    return Update(name, data_changes(earlier, dataset.pictures), overall, comparison, new, sections)


def _added(known: Paired | None, right: Bools) -> Paired:
    """Return the comparison with pictures that the first model is wrong on."""
    if known is None:
        return paired(np.zeros(len(right), bool), right)
    n, hits = known.n + len(right), int(right.sum())
    first, second = known.first * known.n / n, (known.second * known.n + hits) / n
    return Paired(n, first, second, known.lost, known.won + hits)
