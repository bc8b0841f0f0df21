"""Forecasts: what a rung takes, and what more time is likely to give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whatsit.models.backend import layer_policy

# Measured on two cores, for both EfficientNet-Lite at 128 and 224 pixels: seconds to train all layers on an image, by those to
# compute its features. In bfloat16 3.7 with AVX-512, 5.3 with AMX; in float32 5 to 6.5 with AVX2 and with AVX-512, on another
# processor with AVX2 5.8 to 7.6.
TRAINING_COST = {"bfloat16": 4.5, "float32": 6.5}
# The same, to train the deepest layers: 1.6 with AVX-512 and bfloat16, 1.8 with AVX2, 2.7 to 4 with AMX.
DEEPEST_COST = 1.8
# Seconds to read a photo and compute its features, by those to compute them; where only these are measured.
DECODING = 1.4
STRONGER_COST = 1.5  # of the stronger backbone, by the default one's
OPEN = 6.0  # seconds to build and compile a network for its features, and to measure it; 3 on a fast processor
BUILD = 12.0  # seconds to build and compile a network for training

WORTH = 10  # epochs of all layers that are suggested
AFTERWARDS = 45.0  # seconds for the start, the test and the report
LIMITS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 90, 120)  # minutes
FEWEST = 4  # mistakes, below which nobody can say whether more time helps
SMALLEST = 0.01  # share of mistakes
# The share of mistakes that fine-tuning mends, at least and at most, of six data sets (docs/explanation/training-notes.md).
# More where the middle layers have the better features: such images are unlike those that the network was trained on.
USUAL, UNLIKE = (0.15, 0.45), (0.25, 0.55)


@dataclass(frozen=True)
class Pace:
    """What this machine takes for an image, in seconds."""

    reading: float  # to read and decode it
    features: float  # to compute its frozen features, once decoded

    def look(self, images: int, views: int) -> float:
        """Return the seconds to read images and compute features of their views."""
        return images * (self.reading + views * self.features)


def training_cost() -> float:
    """Return the seconds to train on an image, by those for its features."""
    return TRAINING_COST["float32" if layer_policy() == "float32" else "bfloat16"]


def epoch_of_all(features: float, images: int, held: int) -> float:
    """Return the seconds of an epoch of all layers, with its validation.

    Args:
        features: seconds to compute the frozen features of an image.
        images: that are trained on.
        held: validation images.
    """
    return training_cost() * features * (images + held / 4)


def deepest(pace: Pace, images: int, held: int) -> float:
    """Return the seconds to tune the deepest layers for two epochs.

    The features before them are computed for each image and its mirror image.
    """
    return BUILD + pace.look(images + held, 2) + images * 2 * DEEPEST_COST * pace.features


@dataclass(frozen=True)
class MoreTime:
    """What more time is likely to give."""

    minutes: int  # the time limit to try
    points: tuple[int, int]  # of accuracy in percent, at least and at most
    mistakes: float  # share of the validation images
    unlike: bool  # whether the images are unlike those that the network was trained on

    @property
    def sentence(self) -> str:
        """What to expect, and why."""
        low, high = self.points
        points = f"{low} to {high} points" if low < high else f"{high} {'point' if high == 1 else 'points'}"
        why = f"{self.mistakes:.0%} of the validation images are wrong"
        more = " and middle layers do better than the last" if self.unlike else ""
        return f"fine-tuning; {points} more are usual where {why}{more}"


def more_time(right: npt.NDArray[np.bool_], pace: Callable[[], float], images: int, *, unlike: bool) -> MoreTime | None:
    """Return what fine-tuning is likely to give; None where nothing promises a gain.

    Args:
        right: bool `[N]`, whether each validation image is predicted right by the frozen network with its head.
        pace: measures the seconds to compute the frozen features of an image.
        images: that are trained on.
        unlike: whether middle layers have clearly better features than the last.
    """
    wrong, n = int((~right).sum()), len(right)
    if wrong < FEWEST or wrong / n < SMALLEST:
        return None
    each = pace()
    seconds = AFTERWARDS + 2 * BUILD + images * each * 4 * DECODING + WORTH * epoch_of_all(each, images, n)
    minutes = next((limit for limit in LIMITS if 60 * limit >= seconds), LIMITS[-1])
    low, high = (100 * share * wrong / n for share in (UNLIKE if unlike else USUAL))
    return MoreTime(minutes, (max(1, round(low)), max(1, round(high))), wrong / n, unlike)
