"""Plots of metrics as PNG files, with colours that survive colour blindness.

Lines use the palette of Okabe & Ito (2008) and differ in their dashes too; maps are drawn in Viridis or in one hue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from whatsit.arrays import Array
from whatsit.evaluation.drawing import DASHES, GREY, OPAQUE, PALETTE, figure_of, legend_right, line_style, png, short
from whatsit.evaluation.metrics import (
    Metrics,
    auroc,
    average_precision,
    precision_recall_curve,
    roc_curve,
    wilson_interval,
)

MAX_LINES = 10  # classes drawn by name; of more, the worst
MAX_CELLS = 40  # classes in a confusion matrix


def history(rows: Sequence[Mapping[str, Any]], best_epoch: int) -> bytes:
    """Draw loss (validation: calibrated) and accuracy of one stage by epoch.

    The rows have the columns of `history.csv`. Shaded is the over-fitting gap: how much better the model is on its training
    pictures. The epoch that was kept is marked, with its gap in accuracy.
    """
    with figure_of(7.6, 3.1, 2) as (figure, (left, right)):
        epochs = [int(row["epoch"]) for row in rows]
        for axes, key, title in ((left, "loss", "Loss (nats)"), (right, "accuracy", "Accuracy")):
            held = "val_calibrated_loss" if key == "loss" else f"val_{key}"
            for number, (column, label) in enumerate(((key, "training"), (held, "validation"))):
                values = [float(row[column]) for row in rows]
                axes.plot(epochs, values, DASHES[number], color=PALETTE[number], marker="." if len(rows) < 30 else None)
                axes.plot([], [], DASHES[number], color=PALETTE[number], label=label)
            ours, held_out = (np.array([float(row[column]) for row in rows]) for column in (key, held))
            better = ours > held_out if key == "accuracy" else ours < held_out
            axes.fill_between(
                epochs, ours, held_out, where=better, interpolate=True, color=PALETTE[1], alpha=0.13, linewidth=0,
                label="over-fitting gap",
            )  # fmt: skip
            axes.axvline(best_epoch, color=GREY, linewidth=1, linestyle=":", label=f"kept: epoch {best_epoch}")
            axes.set(title=title, xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            kept = [place for place, epoch in enumerate(epochs) if epoch == best_epoch]
            axes.plot([best_epoch] * len(kept), held_out[kept], "o", color=PALETTE[1], markersize=8, fillstyle="none")
            if key == "accuracy" and kept:
                axes.set_title(
                    f"Accuracy (gap where kept: {100 * float(ours[kept[0]] - held_out[kept[0]]):+.1f} points)"
                )
        right.set_ylim(top=min(1.02, right.get_ylim()[1]))
        right.legend(loc="lower right", **OPAQUE)
        return png(figure)


def confusion(metrics: Metrics) -> bytes:
    """Draw the confusion matrix, each row as shares of its class, with the counts.

    Of many classes, those with most mistakes.
    """
    counts, names = np.array(metrics.confusion), list(metrics.per_class)
    order = np.arange(len(names))
    if len(names) > MAX_CELLS:
        mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
        order = np.sort(np.argsort(-mistakes, kind="stable")[:MAX_CELLS])
    counts = counts[np.ix_(order, order)]
    rows = np.array([metrics.per_class[names[k]].n for k in order])
    shares = counts / np.maximum(rows, 1)[:, None]
    few = len(order) <= 12
    size = min(9.5, 2.6 + 0.52 * len(order))
    with figure_of(size + 1.2, size) as (figure, axes):
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, j in zip(*np.nonzero(counts), strict=True):
            share = f"{shares[i, j]:.0%}" if shares[i, j] >= 0.005 else "<1%"
            text = f"{share}\n{counts[i, j]:,}" if few else f"{counts[i, j]}"
            ink = "white" if shares[i, j] > 0.55 else "#22313F"
            fontsize = 9 if few else 7 if len(order) <= 25 else 6
            axes.text(j, i, text, ha="center", va="center", color=ink, fontsize=fontsize)
        labels = [short(names[k]) for k in order]
        turned = {"rotation": 45, "ha": "right"} if max(map(len, labels)) > 3 else {}
        axes.set_xticks(range(len(order)), labels, **turned)
        axes.set_yticks(range(len(order)), labels)
        axes.tick_params(labelsize=10 if len(order) <= 20 else 7)
        some = f" (the {len(order)} classes with most mistakes)" if len(order) < len(names) else ""
        axes.set(title=f"Confusion matrix{some}", xlabel="answer of the model", ylabel="true class")
        axes.grid(visible=False)
        bar = figure.colorbar(image, ax=axes, shrink=0.8, format=lambda value, _: f"{value:.0%}")
        bar.set_label("share of the true class")
        return png(figure)


def roc(labels: Array, probabilities: Array, classes: Sequence[str]) -> bytes:
    """Draw the ROC curve of each class against all others."""

    def draw(axes: Any, positive: Array, scores: Array, **style: Any) -> None:
        axes.plot(*roc_curve(positive, scores), **style)

    with figure_of(6.6, 4.3) as (figure, axes):
        _draw_curves(axes, labels, probabilities, classes, draw, auroc, "area under the curve")
        axes.plot([0, 1], [0, 1], ":", color=GREY, zorder=0)
        axes.set(title="ROC, each class against the others", xlabel="false positive rate", ylabel="true positive rate")
        return png(figure)


def precision_recall(labels: Array, probabilities: Array, classes: Sequence[str]) -> bytes:
    """Draw the precision-recall curve of each class against all others."""

    def draw(axes: Any, positive: Array, scores: Array, **style: Any) -> None:
        axes.step(*precision_recall_curve(positive, scores), where="pre", **style)

    with figure_of(6.6, 4.3) as (figure, axes):
        _draw_curves(axes, labels, probabilities, classes, draw, average_precision, "average precision")
        axes.set(title="Precision and recall", xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
        return png(figure)


def _draw_curves(
    axes: Any,
    labels: Array,
    probabilities: Array,
    classes: Sequence[str],
    draw: Callable[..., None],
    area: Callable[[Array, Array], float],
    title: str,
) -> None:
    """Draw the curves of tested classes; of many, those of the lowest area."""
    counts = np.bincount(labels, minlength=len(classes))
    areas = {k: area(labels == k, probabilities[:, k]) for k, n in enumerate(counts) if 0 < n < len(labels)}
    lowest = sorted(sorted(areas, key=lambda k: areas[k])[:MAX_LINES])
    for number, k in enumerate(lowest):
        label = f"{short(classes[k])}  {areas[k]:.3f}"
        draw(axes, labels == k, probabilities[:, k], label=label, **line_style(number))
    legend_right(axes, f"{title}, the {MAX_LINES} lowest" if len(areas) > MAX_LINES else title)


def per_class(metrics: Metrics) -> bytes:
    """Draw precision and recall of each class, or of those of the lowest F1."""
    chosen = list(metrics.per_class.items())
    if len(chosen) > 30:
        chosen = sorted(chosen, key=lambda item: item[1].f1)[:30]
    with figure_of(7.6, 1.3 + 0.36 * len(chosen)) as (figure, axes):
        for number, name in enumerate(("precision", "recall")):
            rows = np.arange(len(chosen)) + (number - 0.5) * 0.3
            mean = np.array([getattr(f, name) for _, f in chosen])
            low, high = np.array([getattr(f, f"{name}_ci95") for _, f in chosen]).T
            edges = np.maximum([mean - low, high - mean], 0.0)
            marker = "os"[number]
            axes.errorbar(
                mean, rows, xerr=edges, fmt=marker, color=PALETTE[number], markersize=5, capsize=2, label=name
            )
        axes.set_yticks(range(len(chosen)), [short(label) for label, _ in chosen])
        axes.set_ylim(len(chosen) - 0.4, -0.6)
        some = " (the 30 with the lowest F1)" if len(chosen) < len(metrics.per_class) else ""
        axes.set(title=f"Each class, with 95 % intervals{some}", xlabel="share")
        axes.set_xlim(right=1.01)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return png(figure)


def calibration(metrics: Metrics) -> bytes:
    """Draw the reliability diagram: how often predictions are right."""
    bins = metrics.reliability
    with figure_of(5.2, 4.6) as (figure, axes):
        axes.plot([0, 1], [0, 1], ":", color=GREY, label="perfect")
        x, y = np.array([b.confidence for b in bins]), np.array([b.accuracy for b in bins])
        low, high = np.array([wilson_interval(round(b.accuracy * b.n), b.n) for b in bins]).T
        sizes = [20 + 160 * b.n / metrics.n for b in bins]
        axes.errorbar(
            x, y, yerr=np.maximum([y - low, high - y], 0.0), fmt="none", color=PALETTE[0], linewidth=1, capsize=2
        )
        axes.scatter(x, y, sizes, color=PALETTE[0], label="answers (area: how many)", zorder=3)
        axes.set(title="Reliability", xlabel="probability the model gave", ylabel="share that was right")
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
        axes.legend(loc="upper left", **OPAQUE)
        return png(figure)


def unknown(known: Array, others: Mapping[str, Array], threshold: float) -> bytes:
    """Draw histograms of the out-of-distribution score by kind of picture."""
    groups = {"test pictures": known, **others}
    everything = np.concatenate(list(groups.values()))
    low, high = max(1e-3, float(everything.min()) * 0.9), float(everything.max()) * 1.1
    edges = np.geomspace(low, max(high, threshold * 1.1), 50)
    with figure_of(7.6, 3.1) as (figure, axes):
        for number, (name, scores) in enumerate(groups.items()):
            style = {"color": PALETTE[number % len(PALETTE)], "linestyle": DASHES[number % len(DASHES)]}
            look = {"histtype": "step", "linewidth": 1.6, **style} if number else {"alpha": 0.45, "color": PALETTE[0]}
            axes.hist(scores, edges, weights=np.full(len(scores), 1 / len(scores)), label=name, **look)
        axes.axvline(threshold, color="#22313F", linewidth=1.2, label="threshold")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "25" else "")
        axes.set(title="How strange the pictures are to the model", xlabel="score (right of the threshold: unknown)")
        axes.set_ylabel("share of the pictures")
        legend_right(axes)
        return png(figure)


def learning(pictures: Sequence[int], accuracy: Sequence[float], recall: Array, classes: Sequence[str]) -> bytes:
    """Draw accuracy and recall `[shares, K]` by number of training pictures."""
    with figure_of(7.6, 3.6) as (figure, axes):
        drawn = np.argsort(np.nan_to_num(recall[-1], nan=2.0), kind="stable")[:MAX_LINES]
        for number, k in enumerate(sorted(drawn)):
            axes.plot(pictures, recall[:, k], marker=".", label=short(classes[k]), **line_style(number))
        axes.plot(pictures, accuracy, color="#22313F", linewidth=3, alpha=0.75, label="all classes", zorder=1)
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(pictures), [f"{count:,}" for count in pictures])
        axes.minorticks_off()
        axes.set(title="More pictures, better answers? (linear probe)", xlabel="training pictures", ylabel="recall")
        legend_right(axes, f"the {MAX_LINES} lowest" if len(classes) > MAX_LINES else None)
        return png(figure)


def benchmark(
    names: Sequence[str],
    milliseconds: Sequence[float],
    pictures_per_second: Sequence[float],
    megabytes: Sequence[float],
    usable: Sequence[bool],
) -> bytes:
    """Draw three bars for each way to run a model; grey where it is not usable."""
    panels = (
        ("One picture (ms, less is better)", milliseconds, "{:.1f}"),
        ("Batches (pictures/s, more is better)", pictures_per_second, "{:,.0f}"),
        ("Size (MB)", megabytes, "{:.1f}"),
    )
    places = np.arange(len(names))[::-1]
    with figure_of(11.0, 1.1 + 0.34 * len(names), 3) as (figure, all_axes):
        for number, (axes, (title, values, text)) in enumerate(zip(all_axes, panels, strict=True)):
            colours = [PALETTE[number] if good else GREY for good in usable]
            axes.barh(places, values, color=colours, height=0.66)
            for place, value in zip(places, values, strict=True):
                axes.text(value, place, " " + text.format(value), va="center", fontsize=8)
            axes.set_xlim(0, 1.22 * max(values))
            axes.set_title(title)
            axes.set_yticks(places, names if number == 0 else [""] * len(names))
            axes.set_xlabel("grey: other answers than the model's" if number == 0 and not all(usable) else "")
        return png(figure)
