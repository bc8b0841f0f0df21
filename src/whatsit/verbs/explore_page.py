"""`explore.html`: the data at a glance, and what is to be looked at, with the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.errors import ImageError
from whatsit.evaluation.page import base64_of, jpeg_of, render_page
from whatsit.images.audit import Audit
from whatsit.images.batches import decode_batches
from whatsit.images.decode import Pixels, decode_within
from whatsit.images.scan import Dataset
from whatsit.runtime.overlay import FONT
from whatsit.verbs.explore import Exploration, Finding

TEMPLATE = Path(__file__).parent / "explore.html.jinja"
SHOWN = 24  # findings of a kind
SAMPLES = 6  # pictures of a class
CLASSES = 60  # of which samples are shown
SIDE = 120  # pixels
MEAN_SIDE = 32  # of the mean picture
AVERAGED = 1000  # pictures that it is made of

KINDS = {
    "label": (
        "Labels that are likely wrong",
        "Judged by classifiers that never saw the picture.",
    ),
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


def render(found: Exploration, dataset: Dataset, looked: Audit, moving: int = 0) -> str:
    """The page, which needs nothing else; `moving` files are moved aside afterwards."""
    pictures = _Pictures(dataset)
    by_label = found.by_label()
    sections = []
    for kind, (title, about) in KINDS.items():
        all_of_kind = found.of(kind)
        if all_of_kind:
            shown = [(finding, [pictures.get(name) for name in finding.images[:4]]) for finding in all_of_kind[:SHOWN]]
            sections.append({"kind": kind, "title": title, "about": about, "count": len(all_of_kind), "shown": shown})
    return render_page(
        TEMPLATE,
        found=found,
        moving=moving,
        most=max(by_label.values()),
        by_label=by_label,
        sizes=_sizes(found.sizes),
        samples=[
            (label, [pictures.get(name) for name in _spread(dataset, label)]) for label in found.classes[:CLASSES]
        ],
        mean=base64_of(jpeg_of(_mean(dataset, looked))),
        sections=sections,
        splits_of=lambda finding: ", ".join(finding.splits),
        several=_several,
        font=base64_of(FONT.read_bytes()),
    )


def _mean(dataset: Dataset, looked: Audit) -> Pixels:
    """The mean of at most `AVERAGED` pictures, each brought to a square: uint8 `[MEAN_SIDE, MEAN_SIDE, 3]`."""
    step = -(-len(looked.pictures) // AVERAGED)
    total = np.zeros((MEAN_SIDE, MEAN_SIDE, 3))
    count = 0
    for batch in decode_batches(looked.pictures[::step], dataset.read, (MEAN_SIDE, MEAN_SIDE)):
        total += batch.pixels.sum(axis=0, dtype=np.int64)
        count += len(batch.pixels)
    return np.rint(total / max(count, 1)).astype(np.uint8)


def _several(finding: Finding) -> str:
    """The labels of a group: one where all are alike."""
    return ", ".join(dict.fromkeys(finding.labels))


class _Pictures:
    """Small JPEGs of pictures, by name; each is made once."""

    def __init__(self, dataset: Dataset) -> None:
        self._store = dataset.store
        self._made: dict[str, str] = {}

    def get(self, name: str) -> str:
        """In base64; empty for what cannot be read."""
        if name not in self._made:
            try:
                self._made[name] = base64_of(jpeg_of(decode_within(self._store.read(name), SIDE)))
            except ImageError:
                self._made[name] = ""
        return self._made[name]


def _spread(dataset: Dataset, label: str) -> list[str]:
    names = [picture.name for picture in dataset.pictures if picture.label == label]
    step = max(1, len(names) // SAMPLES)
    return names[::step][:SAMPLES]


def _sizes(sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The middle size, and how many pictures have which proportions."""
    if not sizes:
        return {"middle": "", "smallest": "", "largest": "", "shapes": []}
    table = np.array(sizes)
    order = np.argsort(table.prod(axis=1), kind="stable")
    smallest, middle, largest = (table[order[place]] for place in (0, len(order) // 2, -1))
    proportion = table[:, 1] / table[:, 0]
    bounds = {
        "much wider than high": 1.6,
        "wider than high": 1.1,
        "square": 1 / 1.1,
        "higher than wide": 1 / 1.6,
        "much higher than wide": 0.0,
    }
    shapes, upper = [], np.inf
    for name, lower in bounds.items():
        shapes.append((name, int(((proportion >= lower) & (proportion < upper)).sum())))
        upper = lower
    words = [f"{width} x {height}" for height, width in (smallest, middle, largest)]
    return {"smallest": words[0], "middle": words[1], "largest": words[2], "shapes": shapes}
