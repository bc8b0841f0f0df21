"""Likely wrong labels: predictions by classifiers that never saw the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Array, Labels
from whatsit.images.neighbours import principal_components

FOLDS = 5
FEWEST = 5 * FOLDS  # pictures of a class, of fewer nothing is said
LIKELY = 0.5  # probability from which a label is called likely wrong
_ROUNDS = 2  # the second time without the labels that the first found wrong
_DIMENSIONS = 256
_STRENGTH = 0.003  # inverse strength of the regularization: a weak one learns wrong labels by heart (decision 13)


@dataclass(frozen=True)
class LabelIssue:
    """A picture whose label is likely wrong."""

    place: int  # of the picture
    given: int  # the number of its class
    suggested: int
    wrong: float  # probability that the given label is wrong
    confidence: float  # probability of the suggested class, by classifiers that never saw the picture


def label_issues(
    features: Array, labels: Labels, groups: Sequence[Sequence[int]] = (), classes: int | None = None
) -> list[LabelIssue]:
    """Return the images whose labels are likely wrong, the most certain first.

    Probabilities come from logistic regression on the features in five folds, so that no picture judges itself, nor its
    near-duplicates, as in confident learning (Northcutt et al. 2021). How many labels are wrong is fitted together with the
    classifiers' temperature, as noise that hits every class alike (compare Bootkrajang and Kabán 2012); where the classifiers are
    unsure by nature, little is left for noise to explain, and little is called wrong.

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
    given = np.searchsorted(known, labels[enough])
    values = _compressed(
        features if len(enough) == len(features) else features[enough]
    )  # a copy may take half a gigabyte
    folds = _folds(given, _group_numbers(len(labels), groups)[enough])
    trusted = np.ones(len(given), bool)
    for _ in range(_ROUNDS):
        probabilities, wrong = judge(_out_of_fold(values, given, folds, trusted), given)
        trusted = wrong < LIKELY
    best = probabilities.argmax(axis=1)
    return [
        LabelIssue(
            int(enough[i]),
            int(labels[enough[i]]),
            int(known[best[i]]),
            float(wrong[i]),
            float(probabilities[i, best[i]]),
        )
        for i in np.argsort(-wrong, kind="stable")
        if not trusted[i]
    ]


def judge(probabilities: Array, given: Labels) -> tuple[Array, Array]:
    """Return calibrated probabilities `[N, K]`, and that of each label to be wrong.

    The latter is `[N]`; 0 where the label is the most probable class.
    """
    from scipy.optimize import minimize

    logs = np.log(np.maximum(probabilities, 1e-12))
    rows, classes = np.arange(len(given)), logs.shape[1]

    def calibrated(log_temperature: float) -> Array:
        scaled: Array = logs / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        np.exp(scaled, out=scaled)
        scaled /= scaled.sum(axis=1, keepdims=True)
        return scaled

    def loss(fitted: Array) -> float:
        noise = 1 / (1 + np.exp(-fitted[1]))
        likelihood = (1 - noise) * calibrated(fitted[0])[rows, given] + noise / classes
        return float(-np.log(likelihood).mean())

    fitted = minimize(loss, [np.log(0.5), -4.0], method="Nelder-Mead", options={"maxiter": 120, "xatol": 1e-2}).x
    noise = 1 / (1 + np.exp(-fitted[1]))
    found = calibrated(fitted[0])
    wrong = noise / classes / ((1 - noise) * found[rows, given] + noise / classes)
    return found, np.where(found.argmax(axis=1) == given, 0.0, wrong)


def _out_of_fold(values: Array, labels: Labels, folds: Labels, trusted: npt.NDArray[np.bool_]) -> Array:
    """Return probabilities `[N, K]` by classifiers of trusted images in other folds."""
    from sklearn.linear_model import LogisticRegression

    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    for fold in range(FOLDS):
        held, train = folds == fold, (folds != fold) & trusted
        if held.any() and len(np.unique(labels[train])) > 1:
            model = LogisticRegression(C=_STRENGTH, max_iter=200, tol=1e-3).fit(values[train], labels[train])
            probabilities[np.ix_(held, model.classes_)] = model.predict_proba(values[held])
    return probabilities


def _folds(labels: Labels, groups: Labels) -> Labels:
    """Return the fold of each image: every class alike in all, a group in one."""
    rng = np.random.default_rng(0)
    folds = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        folds[members] = np.arange(len(members)) % FOLDS
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    shared: Labels = folds[first][number]
    return shared


def _compressed(features: Array) -> Array:
    """Return the principal components, of variance 1 but for the smallest."""
    kept = min(_DIMENSIONS, features.shape[1], max(2, len(features) // 4))
    values, variances = principal_components(features, kept)
    values /= np.sqrt(np.maximum(variances, 1e-9) + 0.01 * variances.max())
    return values


def _group_numbers(count: int, groups: Sequence[Sequence[int]]) -> Labels:
    numbers = np.arange(count)
    for group in groups:
        numbers[list(group)] = min(group)
    return numbers
