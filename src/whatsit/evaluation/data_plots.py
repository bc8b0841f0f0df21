"""Plots of a data set as PNG files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from whatsit.errors import ImageError
from whatsit.evaluation.drawing import GREY, PALETTE, figure_of, png, short
from whatsit.evaluation.samples import evenly
from whatsit.images.decode import decode_within
from whatsit.images.scan import Dataset

MAX_CLASSES = 40  # bars; of more classes, the largest and the smallest
SAMPLED_CLASSES = 12
MAX_NAMED = 4  # sizes that are written beside their dots
SIDE = 160  # pixels of a picture in a grid


def class_counts(counts: Mapping[str, Mapping[str, int]]) -> bytes:
    """Draw how many pictures each class has, from `{split: {label: pictures}}`."""
    totals: Counter[str] = Counter()
    for labels in counts.values():
        totals.update(labels)
    names = sorted(totals, key=lambda label: -totals[label])
    if len(names) > MAX_CLASSES:
        names = [*names[: MAX_CLASSES // 2], *names[-MAX_CLASSES // 2 :]]
    with figure_of(7.6, 1.2 + 0.3 * len(names)) as (figure, axes):
        places, start = np.arange(len(names)), np.zeros(len(names))
        for number, (split, labels) in enumerate(counts.items()):
            values = np.array([labels.get(name, 0) for name in names])
            axes.barh(places, values, left=start, color=PALETTE[number], label=split or "pictures", height=0.7)
            start += values
        for place, name in enumerate(names):
            axes.text(totals[name], place, f" {totals[name]:,}", va="center", fontsize=9)
        axes.set_yticks(places, [short(name) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, 1.12 * max(totals.values()))
        axes.set(title="Pictures of each class", xlabel="pictures")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.grid(visible=False, axis="y")
        if len(counts) > 1:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return png(figure)


def sizes(heights_and_widths: Sequence[tuple[int, int]]) -> bytes:
    """Draw every picture by its width and height, in pixels."""
    found, counts = np.unique(np.array(heights_and_widths), axis=0, return_counts=True)
    heights, widths = found.T
    high = 1.15 * found.max()
    with figure_of(5.2, 4.6) as (figure, axes):
        axes.plot([0, high], [0, high], ":", color=GREY, zorder=0)
        areas = 14 + 500 * counts / counts.sum()
        axes.scatter(widths, heights, areas, color=PALETTE[0], alpha=0.45, linewidth=0)
        for place in np.argsort(-counts, kind="stable")[:MAX_NAMED]:
            if counts[place] > 0.05 * counts.sum():
                name = f" {widths[place]} x {heights[place]}: {counts[place]:,}"
                left = widths[place] < 0.55 * high
                axes.text(
                    widths[place], heights[place], name if left else f"{name} ",
                    ha="left" if left else "right", va="bottom", fontsize=9,
                )  # fmt: skip
        axes.text(high, high, "square ", ha="right", va="top", color=GREY, fontsize=9)
        axes.set(xlim=(0, high), ylim=(0, high), xlabel="width in pixels", ylabel="height in pixels")
        axes.set_title(f"Sizes ({len(found):,} different; area: how many pictures)")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        return png(figure)


def samples(dataset: Dataset, each: int = 8) -> bytes:
    """Draw some pictures of each class, evenly spread over it."""
    rows = [*evenly(dataset.pictures, dataset.classes[:SAMPLED_CLASSES], each).items()]
    return grid(dataset, rows, "Samples")


def grid(dataset: Dataset, rows: Sequence[tuple[str, Sequence[str]]], title: str) -> bytes:
    """Draw rows of pictures, each row `(caption, names in the data set)`."""
    columns, height = max((len(names) for _, names in rows), default=1), max(len(rows), 1)
    with figure_of(1.5 + 0.95 * columns, 0.5 + 0.95 * height, columns, height) as (figure, table):
        figure.suptitle(title, x=0.01, ha="left", fontsize=13)
        table = np.array(table).reshape(height, columns)
        for axes in table.flat:
            axes.set_axis_off()
        for cells, (caption, names) in zip(table, rows, strict=False):
            left = cells[0]
            left.text(-0.12, 0.5, short(caption), transform=left.transAxes, ha="right", va="center", fontsize=10)
            for axes, name in zip(cells, names, strict=False):
                try:
                    axes.imshow(decode_within(dataset.store.read(name), SIDE))
                except ImageError:
                    continue  # those are listed elsewhere
        return png(figure)
