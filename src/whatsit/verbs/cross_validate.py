"""How good a recipe is on few pictures: trained several times, each time tested on others."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.cache import working
from whatsit.errors import DataError
from whatsit.evaluation.metrics import Interval, wilson_interval
from whatsit.images.audit import audit
from whatsit.images.batches import decode_batches
from whatsit.images.groups import connect, with_column
from whatsit.images.near import near_pairs
from whatsit.images.scan import Dataset, Picture, label_numbers
from whatsit.progress import SILENT, Reporter
from whatsit.training.clock import Clock
from whatsit.training.recipe import Recipe
from whatsit.verbs.data import open_data, split_data
from whatsit.verbs.plan import make_plan

FOLDS = 3


@dataclass(frozen=True)
class CrossValidation:
    """What came of all folds: every picture was tested once, by a model that had seen neither it nor one of its group."""

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]  # [true][answer]
    folds: int

    @property
    def n(self) -> int:
        """Pictures tested."""
        return sum(map(sum, self.confusion))

    @property
    def right(self) -> int:
        """Right answers."""
        return sum(row[place] for place, row in enumerate(self.confusion))

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.right / self.n

    @property
    def accuracy_ci95(self) -> Interval:
        """By Wilson (1927), as if all were tested by one model."""
        return wilson_interval(self.right, self.n)

    def recall(self) -> dict[str, float]:
        """Of each class, the share that was found."""
        return {
            label: row[place] / sum(row)
            for place, (label, row) in enumerate(zip(self.classes, self.confusion, strict=True))
            if sum(row)
        }


@working()
def cross_validate(
    folder: str | Path,
    *,
    folds: int = FOLDS,
    recipe: str = "fast",
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> CrossValidation:
    """Train `folds` times on a folder of class folders, as `train` does, each time testing on another part.

    Args:
        folder: of class folders, without splits of its own.
        folds: parts; every class needs as many different pictures, and two more to train and to choose by.
        recipe, settings, seed: as for `train`.
        reporter: is told about progress.

    Raises:
        DataError: a class has too few pictures, or the folder comes with splits. Else as `train` does.
    """
    dataset = open_data(folder, reporter)
    if any(picture.split for picture in dataset.pictures):
        raise DataError(f"{folder}: these pictures come with splits; cross-validation needs to deal them itself")
    plan = make_plan(recipe, None, None, seed, settings or {})
    parts = _deal(dataset, folds, reporter)
    total = np.zeros((len(dataset.classes), len(dataset.classes)), np.int64)
    with tempfile.TemporaryDirectory(prefix="whatsit-") as scratch:
        for fold in range(folds):
            held = [part == fold for part in parts]
            dealt = tuple(
                replace(picture, split="test" if test else "train")
                for picture, test in zip(dataset.pictures, held, strict=True)
            )
            fresh = split_data(replace(dataset, pictures=dealt), plan.seed, SILENT)
            total += _confusion(fresh, plan, Path(scratch) / str(fold))
    return CrossValidation(dataset.classes, tuple(tuple(map(int, row)) for row in total), folds)


def _confusion(dataset: Dataset, plan: Recipe, folder: Path) -> npt.NDArray[np.int64]:
    """What a model trained on a part of the data says of the test pictures, `[true, answer]`.

    The network that was fitted answers; the graph that would ship is proven to say the same (`whatsit verify`).
    """
    from whatsit.models.backend import load_keras

    load_keras()
    from whatsit.training.context import Context
    from whatsit.training.train import train_by_recipe

    folder.mkdir()
    context = Context(dataset, plan, folder, Clock(None, SILENT.say), brief=True, complete=True)
    trained = train_by_recipe(context)
    found = np.zeros((len(dataset.classes), len(dataset.classes)), np.int64)
    for batch in decode_batches(dataset.of("test"), dataset.read, trained.input_size):
        if len(batch.pixels):
            answers = trained.probabilities(batch.pixels).argmax(axis=1)
            np.add.at(found, (label_numbers(batch.good, dataset.classes), answers), 1)
    return found


def _deal(dataset: Dataset, folds: int, reporter: Reporter) -> Sequence[int]:
    """The fold of each picture: every class alike in all, near-duplicates and groups in one; -1 for the unreadable."""
    looked = audit(dataset)
    digests = [picture.digest for picture in looked.pictures]
    pairs = near_pairs(looked.thumbs, sides=looked.sides, warn=reporter.warn)
    near = connect((digests[i], digests[j]) for i, j in pairs.tolist())
    alike = with_column(looked.pictures, near)
    by_class: dict[str, dict[bytes, list[Picture]]] = {label: {} for label in dataset.classes}
    for picture in looked.pictures:
        by_class[picture.label].setdefault(alike.get(picture.digest, picture.digest), []).append(picture)
    rng = np.random.default_rng(0)
    fold_of: dict[bytes, int] = {}
    # A group that several classes have pictures of goes where the class with the fewest groups has it.
    for label, groups in sorted(by_class.items(), key=lambda item: len(item[1])):
        if len(groups) < folds:
            count = sum(map(len, groups.values()))
            raise DataError(
                f"{dataset.source}: of the {count:,} pictures of the class '{label}', {len(groups)} are different (those of one "
                f"group count as one); at least {folds} are needed"
            )
        keys = list(groups)
        for number, place in enumerate(rng.permutation(len(keys))):
            fold_of.setdefault(keys[place], number % folds)
    readable = {picture.name for picture in looked.pictures}
    return [fold_of[alike.get(p.digest, p.digest)] if p.name in readable else -1 for p in dataset.pictures]
