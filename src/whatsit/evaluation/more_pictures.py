"""Would more training pictures help? A learning curve, and gains by class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from whatsit.arrays import Array, Float64
from whatsit.events import Reporter
from whatsit.images.scan import typical_size
from whatsit.images.split import limit

if TYPE_CHECKING:
    from whatsit.training.learning_curve import LearningCurve
    from whatsit.training.trained import Trained

TIMES = 4  # as many pictures as there are, to which a curve is trusted
RANGE = (10, 90)  # percentiles
LEAST_TESTS = 50  # test pictures, without which no number is given
PROBED = 10_000  # pictures of all splits, for a probe whose features were not computed in training


@dataclass(frozen=True)
class Needed:
    """How many more training pictures one percentage point takes.

    The other classes are taken to grow in the same proportion, as they did along the curve.
    """

    about: int
    low: int  # the 10th percentile
    high: int  # the 90th

    def of(self, what: str) -> str:
        """Return such as `about 40 more of 'bird' (30 to 70)`."""
        about, low, high = (_rounded(number) for number in (self.about, self.low, self.high))
        return f"about {about:,} more {what} ({low:,} to {high:,})"


@dataclass(frozen=True)
class Gain:
    """What twice as many training pictures of all classes would bring to one class."""

    label: str
    recall: float  # now, of the linear probe
    points: float  # more recall, 0 to 1
    noise: float  # the standard error of the recall on the test pictures
    needed: Needed | None = None  # for one point; None where the curve does not say so

    @property
    def verdict(self) -> str:
        """Return `worth it` (a point, and more than noise), `hardly` or `cannot tell`."""
        if self.points >= 0.01 and self.points > self.noise:
            return "worth it"
        return "hardly" if self.points < 0.01 and self.noise < 0.02 else "cannot tell"


def gains(curve: LearningCurve, classes: tuple[str, ...], counts: dict[str, int]) -> list[Gain]:
    """Estimate the gain of each class, largest first; `counts` are test pictures.

    The error is taken to fall as a power of the number of pictures (Hestness et al. 2017); the power is fitted to the
    whole curve.
    """
    if len(curve.shares) < 2:
        return []
    found = []
    steps = np.log2(np.array(curve.shares))
    for k, label in enumerate(classes):
        n = counts.get(label, 0)
        if not n:
            continue
        error = 1.0 - curve.recall[:, k]
        floor = 0.5 / n  # no mistake in n pictures may still be an error of this size
        slope, now = np.polyfit(steps, np.log2(np.maximum(error, floor)), 1)
        fitted = min(2.0**now, 1.0)
        points = fitted * (1.0 - 2.0 ** min(slope, 0.0)) if error[-1] > 0 else 0.0
        share = max(float(error[-1]), floor)
        needed = needed_by_class(curve, k, n)
        found.append(Gain(label, 1.0 - float(error[-1]), points, float(np.sqrt(share * (1 - share) / n)), needed))
    return sorted(found, key=lambda gain: -gain.points)


def needed_by_class(curve: LearningCurve, k: int, tests: int) -> Needed | None:
    """Return how many more pictures of class `k` are worth a point of its recall.

    None with fewer than `LEAST_TESTS` test pictures, of which each is worth more than two points, or without a mistake on them.
    """
    if tests < LEAST_TESTS or not curve.by_class or curve.resampled is None or curve.recall[-1, k] == 1:
        return None
    return _needed(curve.shares, curve.recall[:, k], curve.resampled[:, :, k], curve.by_class[k], tests)


def needed_in_all(curve: LearningCurve, tests: Array) -> Needed | None:
    """Return how many more pictures of all classes are worth a point of accuracy.

    `tests` are the test pictures of each class, `[K]`.
    """
    total = int(tests.sum())
    if total < LEAST_TESTS or not curve.by_class or curve.resampled is None or curve.accuracy[-1] == 1:
        return None
    resampled = np.nan_to_num(curve.resampled) @ (tests / total)
    return _needed(curve.shares, np.array(curve.accuracy), resampled, sum(curve.by_class), total)


def _needed(shares: tuple[float, ...], right: Float64, resampled: Float64, count: int, tests: int) -> Needed | None:
    """Return how many more of `count` pictures are worth a point of what is right.

    The range is that of bootstraps of the test pictures, each with the errors of the fit drawn anew. None where the curve has
    fewer than four shares, or where the range goes beyond `TIMES` the pictures there are, or to a curve that does not fall.

    Args:
        shares: of the training pictures, ascending.
        right: the recall or accuracy at each, `[S]`.
        resampled: the same by bootstraps, `[B, S]`.
        count: training pictures at share 1.
        tests: test pictures.
    """
    if len(shares) < 4:
        return None
    steps, floor = np.log2(np.array(shares)), 0.5 / tests
    logs = np.log2(np.maximum(1.0 - right, floor))
    fit = np.polyfit(steps, logs, 1)
    spread = float(np.sqrt(np.square(logs - np.polyval(fit, steps)).sum() / (len(steps) - 2)))
    drawn = np.log2(np.maximum(1.0 - resampled, floor))
    drawn = drawn + np.random.default_rng(0).normal(0.0, spread, drawn.shape)
    slopes, heights = np.polyfit(steps, drawn.T, 1)
    low, high = np.percentile(_more(slopes, heights), RANGE, method="nearest")
    about = float(_more(fit[:1], fit[1:])[0])
    if not (1 + high <= TIMES and 1 + about <= TIMES):
        return None
    return Needed(*(max(1, round(count * share)) for share in (about, min(low, about), max(high, about))))


def _more(slopes: Float64, heights: Float64) -> Float64:
    """Return how many more pictures a point takes, as a share of those there are.

    The logarithm of the error is `height + slope * log2(share)`. Infinite where the error does not fall.
    """
    left = 1.0 - 0.01 / np.minimum(2.0**heights, 1.0)
    falls = (slopes < 0) & (left > 0)
    powers = np.log2(np.where(falls, left, 0.5)) / np.where(falls, slopes, -1.0)
    return np.where(falls, 2.0 ** np.minimum(powers, 60.0) - 1.0, np.inf)


def _rounded(number: int) -> int:
    """Return it to two digits."""
    step: int = 10 ** max(0, len(str(number)) - 2)
    return round(number / step) * step


def probe_curve(trained: Trained, seed: int, reporter: Reporter, *, from_scratch: bool) -> LearningCurve:
    """Train a linear probe on growing shares of the training pictures.

    A network that was trained from scratch has no pretrained features; the default network's are computed for it.
    """
    from whatsit.training.default_network import default_network
    from whatsit.training.learning_curve import learning_curve_of

    dataset = trained.dataset
    if trained.frozen is not None and not from_scratch:
        return learning_curve_of(dataset, trained.frozen, trained.embedding_width, seed, reporter)
    network = default_network(max(typical_size(dataset)))
    probed = limit(dataset, math.ceil(PROBED / len(dataset.classes)), seed)
    return learning_curve_of(probed, network, network.width, seed, reporter)
