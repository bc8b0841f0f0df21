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

from whatsit.arrays import Int64
from whatsit.images.decode import Pixels
from whatsit.images.matching import standard
from whatsit.images.pictures import Picture, Pictures
from whatsit.images.stored_arrays import take_rows

FEWEST = 4  # sequences of a class: a class of fewer could not be dealt to three splits in peace
ALIKE = 0.5  # share of images whose nearest neighbour in their class is of their own sequence
LIFT = 2.0  # times the share that chance would give
_SAMPLE = 2000  # images whose neighbours are looked for
_BLOCK = 16384  # images that they are compared with at a time
_NAME = re.compile(r"(?P<sequence>.*\w)[ _.\-]+[A-Za-z]{0,6}(?P<frame>\d+)")


def find_sequences(pictures: Sequence[Picture], thumbs: Pixels) -> list[list[int]]:
    """Return the sequences, each two or more numbers, ascending.

    Names alone are no proof: unless the nearest neighbour of most images, among all of their class, is of their own
    sequence, and far more often than by chance, no sequence is returned.

    Args:
        pictures: N images with names and labels.
        thumbs: their luminance, uint8 `[N, T, T]`.
    """
    pictures = Pictures.of(pictures)
    by_label = pictures.rows_by_label()
    found = [_by_name(pictures, by_label[label]) for label in pictures.counts()]
    classes = [own for own in found if own]
    if not classes or not _agree(classes, thumbs):
        return []
    return sorted(places for groups in classes for places in groups if len(places) > 1)


def _by_name(pictures: Pictures, rows: Int64) -> list[list[int]]:
    """Return a class's sequences by their names; none where they hardly can be any."""
    own: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, name in zip(rows.tolist(), pictures.take(rows).names(), strict=True):
        path = PurePosixPath(name)
        match = _NAME.fullmatch(path.stem)
        own[str(path.parent), match["sequence"] if match else path.name].append(place)
    return list(own.values()) if _may_be_sequences([len(places) for places in own.values()]) else []


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
        asked = rng.permutation(len(places))[: max(1, min(len(places), _SAMPLE * len(places) // total))]
        nearest = _nearest(thumbs, places, asked)
        hits += int((numbers[nearest] == numbers[asked]).sum())
        chance += float(((np.bincount(numbers)[numbers[asked]] - 1) / (len(places) - 1)).sum())
        seen += len(asked)
    return hits >= ALIKE * seen and hits >= LIFT * chance


def _nearest(thumbs: Pixels, places: Int64, asked: Int64) -> Int64:
    """Return the nearest other of some images of a class, by its place."""
    ours = standard(take_rows(thumbs, places[asked])).reshape(len(asked), -1)
    best, nearest = np.full(len(asked), -np.inf), np.zeros(len(asked), np.int64)
    for start in range(0, len(places), _BLOCK):
        some = take_rows(thumbs, places[start : start + _BLOCK])
        alike = ours @ standard(some).reshape(len(some), -1).T
        inside = (asked >= start) & (asked < start + len(some))
        alike[inside, asked[inside] - start] = -np.inf
        here = alike.argmax(axis=1)
        most = alike[np.arange(len(asked)), here]
        nearest = np.where(most > best, here + start, nearest)
        best = np.maximum(most, best)
    return nearest
