"""The page about the model: how good it is, its mistakes, what it was made of."""

from __future__ import annotations

import numpy as np
import streamlit as st

from whatsit.apps import markup
from whatsit.apps.predictions import data_url, pixels_to_show
from whatsit.apps.streamlit_app import sharing
from whatsit.apps.streamlit_app.model_registry import SPLITS, OpenModel
from whatsit.apps.texts import TEXTS, Texts
from whatsit.bundle.costs import EVERY
from whatsit.bundle.read import find_bundle
from whatsit.errors import ImageError, WhatsitError
from whatsit.evaluation.criteria import Check
from whatsit.evaluation.metrics import Metrics
from whatsit.evaluation.prices import CostMetrics, PromiseKept
from whatsit.run.summary import MistakeRecord, RunRecord


def show(opened: OpenModel, text: Texts, *, can_share: bool = False) -> None:
    """Draw the page; `can_share` offers the model as a web page."""
    metrics, record = opened.summary.metrics, opened.record
    st.title(text("facts.title"))
    if metrics is None:
        st.info(text("facts.none"))
    else:
        _overview(metrics, opened, text)
        _checks(opened, record, text)
        _costs(opened, text)
        _classes(metrics, text)
        _confusion(metrics, text)
        _mistakes(record, text)
        if metrics.reliability:
            st.header(text("belief.title"), divider="gray")
            from whatsit.apps.streamlit_app import charts  # here and below: Altair takes a second to load

            left, right = st.columns([3, 2])
            left.altair_chart(charts.reliability(metrics, text))
            right.markdown(text("belief.help"))
    _curves(record, text)
    if not record.history:
        st.info(text("worst.elsewhere"))
    _provenance(opened, record, text)
    if can_share:
        sharing.show(find_bundle(opened.entry.path), opened.entry.name, text)


def _overview(metrics: Metrics, opened: OpenModel, text: Texts) -> None:
    low, high = metrics.accuracy_ci95
    between = text("about.between", low=markup.share(low), high=markup.share(high))
    top5 = [(markup.share(metrics.top5_accuracy), text("facts.top5"))] if len(metrics.per_class) > 5 else []
    st.html(
        markup.tiles(
            (markup.share(metrics.accuracy), text("facts.right", n=f"{metrics.n:,}"), between),
            *top5,
            (markup.share(metrics.ece), text("facts.off")),
            (f"{opened.megabytes:.1f} MB", text("facts.size")),
        )
    )
    st.html(markup.note(text("facts.honest")))


def _checks(opened: OpenModel, record: RunRecord, text: Texts) -> None:
    try:
        checks = record.checks or opened.checks  # the criteria of its maker come first
    except WhatsitError:
        return  # none applies, or the bundle lacks what is needed
    st.header(text("checks.title"), divider="gray")
    missed, untested = sum(check.missed for check in checks), sum(bool(check.untested) for check in checks)
    verdict = [text("checks.missed", missed=missed, n=len(checks))] if missed else []
    verdict += [text("checks.untested", untested=untested, n=len(checks))] if untested else []
    verdict = verdict or [text("checks.all", n=len(checks))]
    st.html(f'<div class="w-verdict {"bad" if missed or untested else "good"}">{"<br>".join(verdict)}</div>')
    header = (text("checks.what"), text("checks.wanted"), text("checks.found"), "")
    st.html(markup.table(header, [_check(one, text) for one in checks]))


def _check(check: Check, text: Texts) -> tuple[str, ...]:
    name, _, label = check.name.partition(".")  # the class, of a promise
    key = f"check.{name}"
    what, found = text(key, label=label) if key in TEXTS[text.language] else check.what, check.found
    if check.untested:
        found = text("checks.lack", labels=", ".join(check.untested))
        result = f"? {text('checks.cannot')}"
    elif not check.passed:
        result = f"✗ {text('checks.fail')}"
    else:
        result = f"✓ {text('checks.uncertain' if check.note else 'checks.pass')}"
    return what, check.wanted, found, result


def _costs(opened: OpenModel, text: Texts) -> None:
    """Draw what mistakes cost, where they have prices."""
    bundle = opened.predictor.bundle
    if bundle.costs is None:
        return
    st.header(text("costs.title"), divider="gray")
    st.markdown(text("costs.help"))
    header = (text("costs.truth"), text("costs.answer"), text("costs.price"))
    every, given = text("costs.every"), bundle.costs.given
    rows = [(*(every if label == EVERY else label for label in pair), f"{p:g}") for pair, p in given.prices.items()]
    rows.append((text("costs.other" if rows else "costs.all"), "", f"{given.default:g}"))
    with st.container(height=420 if len(rows) > 12 else "content", border=False):
        st.html(markup.table(header, rows, numbers=1))
    for name in ("only_from", "always_from"):
        for label, least in getattr(given, name).items():
            st.html(markup.note(text(f"costs.{name}", label=label, least=markup.share(least))))
    try:
        found = CostMetrics.from_json((bundle.test or {}).get("costs"))
    except ValueError:  # measured by nobody
        return
    tiles = [
        (f"{cost:.3g}", text(f"costs.{name}"), text("costs.between", low=f"{low:.3g}", high=f"{high:.3g}"))
        for name, cost, (low, high) in (
            ("with", found.cost, found.cost_ci95),
            ("without", found.most_probable_cost, found.most_probable_cost_ci95),
        )
    ]
    accuracy = (
        markup.share(found.accuracy),
        text("costs.right"),
        text("costs.before", share=markup.share(found.most_probable_accuracy)),
    )
    st.html(markup.tiles(*tiles, accuracy))
    for one in found.promises:
        _promise(one, text)


def _promise(one: PromiseKept, text: Texts) -> None:
    """Draw how many pictures of a class are missed, where that was limited."""
    state = {"untested": "few", "broken": "broken", "shown": "kept", "not contradicted": "open"}[one.state]
    low, high, limit = (markup.share(end) for end in (*one.missed_ci95, one.limit))
    values = {"missed": f"{one.missed:,}", "n": f"{one.n:,}", "low": low, "high": high, "limit": limit}
    said = text(f"costs.{state}", label=one.label, **values)
    bad = state == "broken"
    st.html(f'<div class="w-verdict bad">{markup.safe(said)}</div>' if bad else markup.note(said))


def _classes(metrics: Metrics, text: Texts) -> None:
    from whatsit.apps.streamlit_app import charts

    st.header(text("kinds.title"), divider="gray")
    st.markdown(text("kinds.help"))
    if len(metrics.per_class) > charts.MAX_CLASSES:
        st.caption(text("kinds.worst", n=charts.MAX_CLASSES, all=len(metrics.per_class)))
    st.altair_chart(charts.classes(metrics, text))


def _confusion(metrics: Metrics, text: Texts) -> None:
    from whatsit.apps.streamlit_app import charts

    st.header(text("mixed.title"), divider="gray")
    counts, names = np.array(metrics.confusion), list(metrics.per_class)
    both = np.triu(counts + counts.T, 1)
    if both.any():
        i, j = np.unravel_index(both.argmax(), both.shape)
        most = text("mixed.most", one=names[i], other=names[j], count=int(both[i, j]))
    else:
        most = text("mixed.never")
    left, right = st.columns([3, 2]) if len(names) <= 12 else (st, st)
    right.markdown(f"**{markup.markdown_safe(most)}** {text('mixed.help')}")
    left.altair_chart(charts.confusion(metrics, text))


def _mistakes(record: RunRecord, text: Texts) -> None:
    if not record.mistakes:
        return
    st.header(text("worst.title"), divider="gray")
    st.markdown(text("worst.help"))
    columns = st.columns(3)
    for number, html in enumerate(filter(None, (_mistake(mistake, text) for mistake in record.mistakes))):
        columns[number % 3].html(html)


def _mistake(mistake: MistakeRecord, text: Texts) -> str:
    try:
        picture, evidence = (data_url(pixels_to_show(data)) for data in (mistake.picture, mistake.evidence))
    except ImageError:
        return ""
    share = markup.share(mistake.probability)
    caption = markup.safe(text("worst.caption", answer=mistake.answer, share=share, label=mistake.label))
    return (
        f'<div class="w-two"><img src="{picture}" alt="{text("answer.picture")}"><img src="{evidence}" '
        f'alt="{text("answer.evidence")}"></div><div class="w-caption">{caption}</div>'
    )


def _curves(record: RunRecord, text: Texts) -> None:
    if not record.history:
        return
    from whatsit.apps.streamlit_app import charts

    st.header(text("curves.title"), divider="gray")
    st.markdown(text("curves.help"))
    for column, key in zip(st.columns(2), ("accuracy", "loss"), strict=True):
        if all(key in row and "epoch" in row for row in record.history):
            column.altair_chart(charts.curves(record.history, record.best_epoch, key, text))


def _provenance(opened: OpenModel, record: RunRecord, text: Texts) -> None:
    summary, predictor = opened.summary, opened.predictor
    st.header(text("made.title"), divider="gray")
    parts = (summary.source, summary.network, summary.recipe, summary.created)
    st.html(f"<p>{markup.safe(' · '.join(filter(None, parts)))}</p>")
    if counts := summary.pictures:
        header = (text("made.kind"), *(text(f"made.{split}") for split in SPLITS))
        rows = [(label, *(f"{counts[split][label]:,}" for split in SPLITS)) for label in predictor.classes]
        with st.container(height=420 if len(rows) > 12 else "content", border=False):
            st.html(markup.table(header, rows, numbers=3))
    with st.container(horizontal=True):
        if predictor.bundle.card:
            st.download_button(text("made.card"), predictor.bundle.card, "model-card.md", key="card", on_click="ignore")
        if record.report:
            report = record.report.read_bytes
            st.download_button(text("made.report"), report, "report.html", key="report", on_click="ignore")
