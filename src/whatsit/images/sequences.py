"""Sequences: images that are frames of one track, burst, video or patient.

A random split would tear a sequence apart and test on frames whose neighbours were trained on. Frames may differ in size, light
and sharpness, so they are not always near-duplicates; but their names often differ in the last number only, as in GTSRB's
`00012_00007.ppm` (track, frame) or `person12_bacteria_3.jpeg`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from whatsit.images.decode import Pixels
from whatsit.images.matching import standard
from whatsit.images.scan import Picture

FEWEST = 4  # sequences of a class: a class of fewer could not be dealt to three splits in peace
ALIKE = 0.5  # share of images whose nearest neighbour in their class is of their own sequence
LIFT = 2.0  # times the share that chance would give
_SAMPLE = 2000  # images whose neighbours are looked for
_NAME = re.compile(r"(?P<sequence>.*\w)[ _.\-]+[A-Za-z]{0,6}(?P<frame>\d+)")


def find_sequences(pictures: Sequence[Picture], thumbs: Pixels) -> list[list[int]]:
    """Return the sequences, each two or more numbers, ascending.

    Names alone are no proof: unless the nearest neighbour of most images, among all of their class, is of their own
    sequence, and far more often than by chance, no sequence is returned.

    Args:
        pictures: N images with names and labels.
        thumbs: their luminance, uint8 `[N, T, T]`.
    """
    names: defaultdict[str, defaultdict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, picture in enumerate(pictures):
        path = PurePosixPath(picture.name)
        match = _NAME.fullmatch(path.stem)
        names[picture.label][str(path.parent), match["sequence"] if match else path.name].append(place)
    classes = [
        list(own.values()) for own in names.values() if _may_be_sequences([len(places) for places in own.values()])
    ]
    if not classes or not _agree(classes, thumbs):
        return []
    return sorted(places for groups in classes for places in groups if len(places) > 1)


def _may_be_sequences(sizes: list[int]) -> bool:
    """Return whether a class has enough sequences, and most of its images in one."""
    return len(sizes) >= FEWEST and 2 * sum(size for size in sizes if size > 1) >= sum(sizes)


def _agree(classes: list[list[list[int]]], thumbs: Pixels) -> bool:
    """Return whether the nearest neighbours of a sample agree with the names."""
    total = sum(len(places) for groups in classes for places in groups)
    rng = np.random.default_rng(0)
    hits, chance, seen = 0, 0.0, 0
    for groups in classes:
        places = np.concatenate(groups)
        numbers = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        vectors = standard(thumbs[places]).reshape(len(places), -1)
        asked = rng.permutation(len(places))[: max(1, min(len(places), _SAMPLE * len(places) // total))]
        alike = vectors[asked] @ vectors.T
        alike[np.arange(len(asked)), asked] = -np.inf
        hits += int((numbers[alike.argmax(axis=1)] == numbers[asked]).sum())
        chance += float(((np.bincount(numbers)[numbers[asked]] - 1) / (len(places) - 1)).sum())
        seen += len(asked)
    return hits >= ALIKE * seen and hits >= LIFT * chance
