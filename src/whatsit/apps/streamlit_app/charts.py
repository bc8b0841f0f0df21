"""The charts of the model page. Streamlit gives them the page's font and colours, light or dark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from whatsit.apps.words import Words
from whatsit.evaluation.metrics import Figures, wilson_interval
from whatsit.evaluation.wording import plain

# Of Okabe & Ito (2008), told apart by people who see colours differently; light enough for dark pages, and dark enough for
# light ones.
BLUE, ORANGE, GREEN = "#3d8fd1", "#d9702b", "#0a9f74"
GREY = "#7d8791"
MAX_KINDS = 30


def _chart(rows: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]


def _named(names: Sequence[str], **more: Any) -> alt.Axis:
    """An axis of numbers 0, 1, ... that shows these names. As values, some names (`constructor`) would break Vega."""
    return alt.Axis(labelExpr=f"{json.dumps([plain(name) for name in names])}[datum.value]", **more)


def curves(rows: Sequence[Mapping[str, float]], best: int | None, key: str, say: Words) -> Any:
    """`accuracy` or `loss` of one training, round by round, with the kept round marked."""
    held = "val_calibrated_loss" if key == "loss" and "val_calibrated_loss" in rows[0] else f"val_{key}"
    lines = {say("curves.train"): key, say("curves.check"): held}
    data = [
        {"round": int(row["epoch"]), "value": row[column], "what": name}
        for name, column in lines.items()
        for row in rows
        if column in row
    ]
    title = say(f"curves.{key}")
    colours = alt.Scale(domain=list(lines), range=[BLUE, ORANGE])
    axis = alt.Axis(format=".0%", tickCount=5) if key == "accuracy" else alt.Axis()
    drawn = (
        _chart(data)
        .mark_line(point=len(rows) < 30, strokeWidth=2.5)
        .encode(
            x=alt.X("round:Q", title=say("curves.round"), axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y("value:Q", title=None, axis=axis, scale=alt.Scale(zero=False)),
            color=alt.Color(
                "what:N", scale=colours, title=None, legend=alt.Legend(orient="bottom", symbolType="stroke")
            ),
            strokeDash=alt.StrokeDash("what:N", scale=alt.Scale(domain=list(lines), range=[[1, 0], [6, 3]])),
            tooltip=[
                alt.Tooltip("what:N", title=" "),
                alt.Tooltip("round:Q", title=say("curves.round")),
                alt.Tooltip("value:Q", title=title, format=".1%" if key == "accuracy" else ".3f"),
            ],
        )
    )
    layers = [drawn]
    if best is not None:
        layers.append(
            _chart([{"round": best}]).mark_rule(strokeDash=[2, 3], strokeWidth=1.5, color=GREY).encode(x="round:Q")
        )
    return alt.layer(*layers).properties(title=title, height=260)


def counts(by_label: Mapping[str, int], say: Words) -> Any:
    """How many pictures each class has, the most first; of many classes the largest and the smallest."""
    ordered = sorted(by_label.items(), key=lambda item: -item[1])
    if len(ordered) > MAX_KINDS:
        ordered = [*ordered[: MAX_KINDS // 2], *ordered[-MAX_KINDS // 2 :]]
    rows = [{"number": number, "kind": plain(label), "n": n} for number, (label, n) in enumerate(ordered)]
    return (
        _chart(rows)
        .mark_bar(color=BLUE, cornerRadiusEnd=3)
        .encode(
            y=alt.Y("number:O", title=None, axis=_named([label for label, _ in ordered], labelLimit=180)),
            x=alt.X("n:Q", title=say("mixed.count"), axis=alt.Axis(format=",d", tickMinStep=1)),
            tooltip=[
                alt.Tooltip("kind:N", title=say("kinds.kind")),
                alt.Tooltip("n:Q", title=say("mixed.count"), format=","),
            ],
        )
        .properties(height=max(80, 26 * len(rows) + 40))
    )


def kinds(figures: Figures, say: Words) -> Any:
    """Recall and precision of each class with their 95 % intervals; of many classes, those with the lowest F1."""
    chosen = list(figures.per_class.items())
    if len(chosen) > MAX_KINDS:
        chosen = sorted(chosen, key=lambda item: item[1].f1)[:MAX_KINDS]
    names = {say("kinds.found"): "recall", say("kinds.right"): "precision"}
    data = []
    for number, (label, row) in enumerate(chosen):
        for name, key in names.items():
            low, high = getattr(row, f"{key}_ci95")
            figure = {"value": getattr(row, key), "low": low, "high": high, "n": row.n}
            data.append({"number": number, "kind": plain(label), "what": name, **figure})
    base = _chart(data).encode(
        y=alt.Y("number:O", title=None, axis=_named([label for label, _ in chosen], labelLimit=180)),
        yOffset=alt.YOffset("what:N", sort=list(names)),
        color=alt.Color(
            "what:N",
            scale=alt.Scale(domain=list(names), range=[GREEN, ORANGE]),
            title=None,
            legend=alt.Legend(orient="bottom"),
        ),
        tooltip=[
            alt.Tooltip("kind:N", title=say("kinds.kind")),
            alt.Tooltip("what:N", title=" "),
            alt.Tooltip("value:Q", title=" ", format=".1%"),
            alt.Tooltip("low:Q", title="95 % ≥", format=".1%"),
            alt.Tooltip("high:Q", title="95 % ≤", format=".1%"),
            alt.Tooltip("n:Q", title=say("kinds.n")),
        ],
    )
    scale = alt.Scale(domain=[max(0.0, np.floor(10 * min(row["low"] for row in data)) / 10), 1.0])
    line = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", title=None, axis=alt.Axis(format=".0%", tickCount=6), scale=scale), x2="high:Q"
    )
    dot = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X("value:Q", title=None),
        shape=alt.Shape("what:N", scale=alt.Scale(domain=list(names), range=["circle", "square"]), legend=None),
    )
    return alt.layer(line, dot).properties(height=max(120, 56 * len(chosen) + 70))


def confusion(figures: Figures, say: Words) -> Any:
    """The confusion matrix, coloured by shares of its rows; of many classes, those with most mistakes."""
    counts, names = np.array(figures.confusion), list(figures.per_class)
    order = np.arange(len(names))
    if len(names) > MAX_KINDS:
        mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
        order = np.sort(np.argsort(-mistakes, kind="stable")[:MAX_KINDS])
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
    base = _chart(data).encode(
        x=alt.X("column:O", title=say("mixed.said"), axis=_named(labels, labelAngle=angle, labelLimit=130)),
        y=alt.Y("row:O", title=say("mixed.true"), axis=_named(labels, labelLimit=130)),
        tooltip=[
            alt.Tooltip("true:N", title=say("mixed.true")),
            alt.Tooltip("said:N", title=say("mixed.said")),
            alt.Tooltip("count:Q", title=say("mixed.count")),
            alt.Tooltip("share:Q", title=say("mixed.share"), format=".1%"),
        ],
    )
    cells = base.mark_rect(color=BLUE).encode(
        opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.05, 1]), legend=None)
    )
    layers = [cells]
    if len(labels) <= 15:
        layers.append(
            base.transform_filter("datum.count > 0")
            .mark_text(fontSize=13)
            .encode(
                text="count:Q",
                color=alt.condition("datum.share > 0.5", alt.value("#ffffff"), alt.value(GREY)),
            )
        )
    return alt.layer(*layers).properties(height=max(320, min(640, 40 * len(labels) + 90)))


def belief(figures: Figures, say: Words) -> Any:
    """The reliability diagram, with 95 % intervals."""
    data = []
    for one in figures.reliability:
        low, high = wilson_interval(round(one.accuracy * one.n), one.n) if one.n else (0.0, 1.0)
        data.append({"sure": one.confidence, "right": one.accuracy, "low": low, "high": high, "n": one.n})
    perfect = (
        _chart([{"sure": 0, "right": 0}, {"sure": 1, "right": 1}])
        .mark_line(strokeDash=[4, 4], color=GREY)
        .encode(x="sure:Q", y="right:Q")
    )
    base = _chart(data).encode(
        x=alt.X("sure:Q", title=say("belief.sure"), axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        tooltip=[
            alt.Tooltip("sure:Q", title=say("belief.sure"), format=".1%"),
            alt.Tooltip("right:Q", title=say("belief.right"), format=".1%"),
            alt.Tooltip("n:Q", title=say("mixed.count")),
        ],
    )
    line = base.mark_rule(color=BLUE, strokeWidth=1.5).encode(
        y=alt.Y("low:Q", title=say("belief.right"), axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        y2="high:Q",
    )
    dot = base.mark_circle(color=BLUE, opacity=1).encode(
        y="right:Q", size=alt.Size("n:Q", scale=alt.Scale(range=[40, 300]), legend=None)
    )
    return alt.layer(perfect, line, dot).properties(height=320)
