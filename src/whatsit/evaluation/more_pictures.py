"""Would more training pictures help? A learning curve, and gains by class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from whatsit.events import Reporter
from whatsit.images.scan import typical_size
from whatsit.images.split import limit

if TYPE_CHECKING:
    from whatsit.training.learning_curve import LearningCurve
    from whatsit.training.trained import Trained

PROBED = 10_000  # pictures of all splits, for a probe whose features were not computed in training


@dataclass(frozen=True)
class Gain:
    """What twice as many training pictures of all classes would bring to one class."""

    label: str
    recall: float  # now, of the linear probe
    points: float  # more recall, 0 to 1
    noise: float  # the standard error of the recall on the test pictures

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
        found.append(Gain(label, 1.0 - float(error[-1]), points, float(np.sqrt(share * (1 - share) / n))))
    return sorted(found, key=lambda gain: -gain.points)


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
