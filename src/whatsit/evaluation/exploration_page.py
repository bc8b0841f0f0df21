"""`explore.html`: the data at a glance, and the pictures that need a look."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.evaluation.exploration import Exploration
from whatsit.evaluation.page import base64_of, jpeg_of, picture_of, render_page
from whatsit.evaluation.samples import evenly
from whatsit.images.audit import Audit
from whatsit.images.batches import decode_batches
from whatsit.images.decode import Pixels
from whatsit.images.scan import Dataset

TEMPLATE = Path(__file__).parent / "exploration.html.jinja"
SHOWN = 24  # findings of a kind
SAMPLES = 6  # pictures of a class
CLASSES = 60  # of which samples are shown
SIDE = 120  # pixels
MEAN_SIDE = 32  # of the mean picture
AVERAGED = 1000  # pictures that it is the mean of

SECTIONS = {  # by kind of finding, in the order of the page
    "label": ("Labels that are likely wrong", "Judged by classifiers that never saw the picture."),
    "conflicts": ("The same picture under different labels", "Training leaves these out; keep each under one label."),
    "near": ("Nearly the same picture", "Copies that were resized, cut or saved again, or shots of one moment."),
    "duplicates": ("The same file more than once", "Harmless: training keeps them on one side of a split."),
    "unreadable": ("Files that cannot be read", "Training leaves these out."),
    "dark": ("Too dark", ""),
    "bright": ("Too bright", ""),
    "blurred": ("Blurred", "Softer than the others of this data set."),
    "odd": ("Of odd proportions", "Every picture is brought to the same square, which distorts these most."),
    "tiny": ("Tiny", "Much smaller than the others of this data set."),
    "grey": ("Grey among colour", ""),
}


def render(found: Exploration, dataset: Dataset, audited: Audit, moving: int = 0) -> str:
    """Return the page as HTML; `moving` files are moved aside afterwards."""

    @cache
    def picture(name: str) -> str:
        return picture_of(dataset, name, SIDE)

    names = evenly(dataset.pictures, found.classes[:CLASSES], SAMPLES)
    by_label = found.by_label()
    sections = [
        {
            "kind": kind,
            "title": title,
            "about": about,
            "count": len(findings),
            "shown": [(finding, [picture(name) for name in finding.images[:4]]) for finding in findings[:SHOWN]],
        }
        for kind, (title, about) in SECTIONS.items()
        if (findings := found.of(kind))
    ]
    return render_page(
        TEMPLATE,
        found=found,
        moving=moving,
        most=max(by_label.values()),
        by_label=by_label,
        sizes=_sizes(found.sizes),
        samples=[(label, [picture(name) for name in some]) for label, some in names.items()],
        mean=base64_of(jpeg_of(_mean(dataset, audited))),
        sections=sections,
    )


def _mean(dataset: Dataset, audited: Audit) -> Pixels:
    """Return the mean of squared pictures, uint8 `[MEAN_SIDE, MEAN_SIDE, 3]`."""
    step = -(-len(audited.pictures) // AVERAGED)
    total = np.zeros((MEAN_SIDE, MEAN_SIDE, 3))
    count = 0
    for batch in decode_batches(audited.pictures[::step], dataset.read, (MEAN_SIDE, MEAN_SIDE)):
        total += batch.pixels.sum(axis=0, dtype=np.int64)
        count += len(batch.pixels)
    return np.rint(total / max(count, 1)).astype(np.uint8)


_SHAPES = {  # the least width in heights
    "much wider than high": 1.6,
    "wider than high": 1.1,
    "square": 1 / 1.1,
    "higher than wide": 1 / 1.6,
    "much higher than wide": 0.0,
}


def _sizes(sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return the smallest, middle and largest size, and counts of proportions."""
    table = np.array(sizes)
    order = np.argsort(table.prod(axis=1), kind="stable")
    smallest, middle, largest = (f"{table[i, 1]} x {table[i, 0]}" for i in order[[0, len(order) // 2, -1]])
    shape = np.searchsorted(-np.array(list(_SHAPES.values())), -table[:, 1] / table[:, 0])
    counts = np.bincount(shape, minlength=len(_SHAPES)).tolist()
    shapes = list(zip(_SHAPES, counts, strict=True))
    return {"smallest": smallest, "middle": middle, "largest": largest, "shapes": shapes}
