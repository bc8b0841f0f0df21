"""The charts of the pages. Streamlit adds the page's font, light or dark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from whatsit.apps.texts import Texts
from whatsit.evaluation.metrics import Metrics, wilson_interval
from whatsit.images.names import plain

# Of Okabe & Ito (2008), for people who see colours differently; they stand out on light and on dark pages.
BLUE, ORANGE, GREEN = "#3d8fd1", "#d9702b", "#0a9f74"
GREY = "#7d8791"
MAX_CLASSES = 30


def _chart(rows: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]


def _names(names: Sequence[str], **options: Any) -> alt.Axis:
    """Return an axis of numbers that shows names; as values some break Vega."""
    return alt.Axis(labelExpr=f"{json.dumps([plain(name) for name in names])}[datum.value]", **options)


def _tooltips(*fields: tuple[str, str, str | None]) -> list[alt.Tooltip]:
    """Return what is shown under the pointer: fields with their titles and formats."""
    return [
        alt.Tooltip(field, title=title, format=form) if form else alt.Tooltip(field, title=title)
        for field, title, form in fields
    ]


def curves(rows: Sequence[Mapping[str, float]], best: int | None, key: str, text: Texts) -> Any:
    """Return `accuracy` or `loss` by epoch, with the chosen epoch marked."""
    held_out = "val_calibrated_loss" if key == "loss" and "val_calibrated_loss" in rows[0] else f"val_{key}"
    lines = {text("curves.train"): key, text("curves.check"): held_out}
    data = [
        {"round": int(row["epoch"]), "value": row[column], "what": name}
        for name, column in lines.items()
        for row in rows
        if column in row
    ]
    title, epoch = text(f"curves.{key}"), text("curves.round")
    colours = alt.Scale(domain=list(lines), range=[BLUE, ORANGE])
    legend = alt.Legend(orient="bottom", symbolType="stroke")
    axis = alt.Axis(format=".0%", tickCount=5) if key == "accuracy" else alt.Axis()
    layers: list[Any] = [
        _chart(data)
        .mark_line(point=len(rows) < 30, strokeWidth=2.5)
        .encode(
            x=alt.X("round:Q", title=epoch, axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y("value:Q", title=None, axis=axis, scale=alt.Scale(zero=False)),
            color=alt.Color("what:N", scale=colours, title=None, legend=legend),
            strokeDash=alt.StrokeDash("what:N", scale=alt.Scale(domain=list(lines), range=[[1, 0], [6, 3]])),
            tooltip=_tooltips(
                ("what:N", " ", None),
                ("round:Q", epoch, None),
                ("value:Q", title, ".1%" if key == "accuracy" else ".3f"),
            ),
        )
    ]
    if best is not None:
        mark = _chart([{"round": best}]).mark_rule(strokeDash=[2, 3], strokeWidth=1.5, color=GREY)
        layers.append(mark.encode(x="round:Q"))
    return alt.layer(*layers).properties(title=title, height=260)


def counts(by_label: Mapping[str, int], text: Texts) -> Any:
    """Return the pictures of each class; of many, the largest and the smallest."""
    ordered = sorted(by_label.items(), key=lambda item: -item[1])
    if len(ordered) > MAX_CLASSES:
        ordered = [*ordered[: MAX_CLASSES // 2], *ordered[-MAX_CLASSES // 2 :]]
    rows = [{"number": number, "kind": plain(label), "n": n} for number, (label, n) in enumerate(ordered)]
    number = text("mixed.count")
    return (
        _chart(rows)
        .mark_bar(color=BLUE, cornerRadiusEnd=3)
        .encode(
            y=alt.Y("number:O", title=None, axis=_names([label for label, _ in ordered], labelLimit=180)),
            x=alt.X("n:Q", title=number, axis=alt.Axis(format=",d", tickMinStep=1)),
            tooltip=_tooltips(("kind:N", text("kinds.kind"), None), ("n:Q", number, ",")),
        )
        .properties(height=max(80, 26 * len(rows) + 40))
    )


def classes(metrics: Metrics, text: Texts) -> Any:
    """Return recall and precision of each class; of many, those with the lowest F1."""
    chosen = list(metrics.per_class.items())
    if len(chosen) > MAX_CLASSES:
        chosen = sorted(chosen, key=lambda item: item[1].f1)[:MAX_CLASSES]
    names = {text("kinds.found"): "recall", text("kinds.right"): "precision"}
    data: list[dict[str, Any]] = []
    for number, (label, row) in enumerate(chosen):
        for name, key in names.items():
            low, high = getattr(row, f"{key}_ci95")
            interval = {"value": getattr(row, key), "low": low, "high": high}
            data.append({"number": number, "kind": plain(label), "what": name, "n": row.n, **interval})
    colours = alt.Scale(domain=list(names), range=[GREEN, ORANGE])
    base = _chart(data).encode(
        y=alt.Y("number:O", title=None, axis=_names([label for label, _ in chosen], labelLimit=180)),
        yOffset=alt.YOffset("what:N", sort=list(names)),
        color=alt.Color("what:N", scale=colours, title=None, legend=alt.Legend(orient="bottom")),
        tooltip=_tooltips(
            ("kind:N", text("kinds.kind"), None),
            ("what:N", " ", None),
            ("value:Q", " ", ".1%"),
            ("low:Q", "95 % ≥", ".1%"),
            ("high:Q", "95 % ≤", ".1%"),
            ("n:Q", text("kinds.n"), None),
        ),
    )
    scale = alt.Scale(domain=[max(0.0, np.floor(10 * min(row["low"] for row in data)) / 10), 1.0])
    axis = alt.Axis(format=".0%", tickCount=6)
    line = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=None, axis=axis, scale=scale), x2="high:Q")
    shapes = alt.Scale(domain=list(names), range=["circle", "square"])
    dot = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X("value:Q", title=None), shape=alt.Shape("what:N", scale=shapes, legend=None)
    )
    return alt.layer(line, dot).properties(height=max(120, 56 * len(chosen) + 70))


def confusion(metrics: Metrics, text: Texts) -> Any:
    """Return the confusion matrix; of many classes, those with most mistakes."""
    counts, names = np.array(metrics.confusion), list(metrics.per_class)
    order = np.arange(len(names))
    if len(names) > MAX_CLASSES:
        mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
        order = np.sort(np.argsort(-mistakes, kind="stable")[:MAX_CLASSES])
    labels = [names[k] for k in order]
    data = [
        {
            "row": row,
            "column": column,
            "true": plain(names[i]),
            "said": plain(names[j]),
            "count": int(counts[i, j]),
            "share": float(counts[i, j] / max(1, counts[i].sum())),
        }
        for row, i in enumerate(order)
        for column, j in enumerate(order)
    ]
    angle = 0 if len(labels) * max(map(len, labels)) < 40 else -40
    true, predicted = text("mixed.true"), text("mixed.said")
    base = _chart(data).encode(
        x=alt.X("column:O", title=predicted, axis=_names(labels, labelAngle=angle, labelLimit=130)),
        y=alt.Y("row:O", title=true, axis=_names(labels, labelLimit=130)),
        tooltip=_tooltips(
            ("true:N", true, None),
            ("said:N", predicted, None),
            ("count:Q", text("mixed.count"), None),
            ("share:Q", text("mixed.share"), ".1%"),
        ),
    )
    opacity = alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.05, 1]), legend=None)
    layers = [base.mark_rect(color=BLUE).encode(opacity=opacity)]
    if len(labels) <= 15:
        numbers = base.transform_filter("datum.count > 0").mark_text(fontSize=13)
        colour = alt.condition("datum.share > 0.5", alt.value("#ffffff"), alt.value(GREY))
        layers.append(numbers.encode(text="count:Q", color=colour))
    return alt.layer(*layers).properties(height=max(320, min(640, 40 * len(labels) + 90)))


def reliability(metrics: Metrics, text: Texts) -> Any:
    """Return the reliability diagram, with 95 % intervals."""
    data = []
    for one in metrics.reliability:
        low, high = wilson_interval(round(one.accuracy * one.n), one.n) if one.n else (0.0, 1.0)
        data.append({"sure": one.confidence, "right": one.accuracy, "low": low, "high": high, "n": one.n})
    diagonal = _chart([{"sure": 0, "right": 0}, {"sure": 1, "right": 1}]).mark_line(strokeDash=[4, 4], color=GREY)
    sure, right, scale = text("belief.sure"), text("belief.right"), alt.Scale(domain=[0, 1])
    base = _chart(data).encode(
        x=alt.X("sure:Q", title=sure, axis=alt.Axis(format="%"), scale=scale),
        tooltip=_tooltips(("sure:Q", sure, ".1%"), ("right:Q", right, ".1%"), ("n:Q", text("mixed.count"), None)),
    )
    line = base.mark_rule(color=BLUE, strokeWidth=1.5).encode(
        y=alt.Y("low:Q", title=right, axis=alt.Axis(format="%"), scale=scale), y2="high:Q"
    )
    dot = base.mark_circle(color=BLUE, opacity=1).encode(
        y="right:Q", size=alt.Size("n:Q", scale=alt.Scale(range=[40, 300]), legend=None)
    )
    return alt.layer(diagonal.encode(x="sure:Q", y="right:Q"), line, dot).properties(height=320)
