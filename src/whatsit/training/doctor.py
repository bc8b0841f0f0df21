"""Which labels are likely wrong: what a classifier that never saw a picture says of it, beside its label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.errors import MissingExtraError
from whatsit.images.components import principal_components

FOLDS = 5
FEWEST = 5 * FOLDS  # pictures of a class, of fewer nothing is said
_DIMENSIONS = 256
_PENALTY = (
    0.1  # inverse strength of the regularization: of 0.1, 1, 10 and 100 it finds most planted labels and fewest others
)

Floats = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelIssue:
    """A picture whose label is likely wrong."""

    place: int  # of the picture
    given: int  # the number of its class
    suggested: int
    confidence: float  # probability of the suggested class, by classifiers that never saw the picture


def label_issues(
    features: Floats, labels: Labels, groups: Sequence[Sequence[int]] = (), classes: int | None = None
) -> list[LabelIssue]:
    """Pictures whose labels are likely wrong, the most certain first: confident learning (Northcutt et al. 2021).

    Probabilities come from logistic regression on the features, in five folds, so that no picture judges itself, nor its
    near-duplicates.

    Args:
        features: float `[N, F]`, of a frozen network.
        labels: int `[N]`, 0 to K - 1.
        groups: numbers of pictures that are nearly the same.
        classes: K; by default the largest label + 1.
    """
    classes = int(labels.max()) + 1 if classes is None else classes
    enough = np.flatnonzero(np.bincount(labels, minlength=classes)[labels] >= FEWEST)
    known = np.unique(labels[enough])
    if len(known) < 2:
        return []
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        raise MissingExtraError("Finding wrong labels", "train", "cleanlab") from None
    compact = np.searchsorted(known, labels[enough])
    probabilities = out_of_fold(features[enough], compact, _group_numbers(len(labels), groups)[enough])
    found = find_label_issues(
        compact, probabilities, return_indices_ranked_by="self_confidence", filter_by="prune_by_noise_rate", n_jobs=1
    )
    best = probabilities.argmax(axis=1)
    return [
        LabelIssue(int(enough[i]), int(labels[enough[i]]), int(known[best[i]]), float(probabilities[i, best[i]]))
        for i in found
        if best[i] != compact[i]
    ]


def out_of_fold(features: Floats, labels: Labels, groups: Labels) -> npt.NDArray[np.float64]:
    """Probabilities `[N, K]`, each picture's by a classifier that saw neither it nor others of its group."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    values = _compressed(features)
    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for train, held in folds.split(values, labels, groups):
        model = LogisticRegression(C=_PENALTY / len(train) * 1000, max_iter=200, tol=1e-3)
        model.fit(values[train], labels[train])
        probabilities[np.ix_(held, model.classes_)] = model.predict_proba(values[held])
    return probabilities


def _compressed(features: Floats) -> Floats:
    """The principal components, of variance 1 but for the smallest."""
    kept = min(_DIMENSIONS, features.shape[1], max(2, len(features) // 4))
    values, variances = principal_components(features, kept)
    values /= np.sqrt(np.maximum(variances, 1e-9) + 0.01 * variances.max())
    return values


def _group_numbers(count: int, groups: Sequence[Sequence[int]]) -> Labels:
    numbers = np.arange(count)
    for group in groups:
        numbers[list(group)] = min(group)
    return numbers
