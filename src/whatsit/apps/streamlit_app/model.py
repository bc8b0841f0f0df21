"""The page about the model: how good it is, where it goes wrong, what it was made of."""

from __future__ import annotations

import numpy as np
import streamlit as st

from whatsit.apps.answers import address, pixels_to_show
from whatsit.apps.streamlit_app import charts, fragments
from whatsit.apps.streamlit_app.facts import SPLITS, Facts
from whatsit.apps.streamlit_app.shelf import OpenModel
from whatsit.apps.words import WORDS, Words
from whatsit.errors import ImageError, WhatsitError
from whatsit.evaluation.criteria import Check
from whatsit.evaluation.metrics import Figures
from whatsit.run.summary import MistakeRecord, RunRecord


def show(opened: OpenModel, say: Words) -> None:
    """Draw the page."""
    facts, record = opened.facts, opened.record
    st.title(say("facts.title"))
    if facts.figures is None:
        st.info(say("facts.none"))
    else:
        _glance(facts.figures, opened, say)
        _checks(opened, record, say)
        _kinds(facts.figures, say)
        _mixed(facts.figures, say)
        _mistakes(record, say)
        if facts.figures.reliability:
            st.header(say("belief.title"), divider="gray")
            left, right = st.columns([3, 2])
            left.altair_chart(charts.belief(facts.figures, say))
            right.markdown(say("belief.help"))
    _curves(record, say)
    if not record.history:
        st.info(say("worst.elsewhere"))
    _made(facts, record, opened, say)


def _glance(figures: Figures, opened: OpenModel, say: Words) -> None:
    low, high = figures.accuracy_ci95
    shown = [
        fragments.tile(
            fragments.share(figures.accuracy),
            say("facts.right", n=f"{figures.n:,}"),
            say("about.between", low=fragments.share(low), high=fragments.share(high)),
        )
    ]
    if len(figures.per_class) > 5:
        shown.append(fragments.tile(fragments.share(figures.top5_accuracy), say("facts.top5")))
    shown.append(fragments.tile(fragments.share(figures.ece), say("facts.off")))
    shown.append(fragments.tile(f"{opened.megabytes:.1f} MB", say("facts.size")))
    st.html(fragments.tiles(*shown))
    st.html(f'<p class="w-soft">{say("facts.honest")}</p>')


def _checks(opened: OpenModel, record: RunRecord, say: Words) -> None:
    try:
        checks = record.checks or opened.checks  # its maker's own criteria come first
    except WhatsitError:
        return  # none applies, or the bundle has not what is needed
    st.header(say("checks.title"), divider="gray")
    missed, untold = sum(check.missed for check in checks), sum(bool(check.untested) for check in checks)
    words = [say("checks.missed", missed=missed, n=len(checks))] if missed else []
    words += [say("checks.untold", untold=untold, n=len(checks))] if untold else []
    words = words or [say("checks.all", n=len(checks))]
    st.html(f'<div class="w-verdict {"bad" if missed or untold else "good"}">{"<br>".join(words)}</div>')
    rows = [(_criterion(one, say), one.wanted, _found(one, say), _result(one, say)) for one in checks]
    header = (say("checks.what"), say("checks.wanted"), say("checks.found"), "")
    st.html(fragments.table(header, rows, numbers=0))


def _criterion(check: Check, say: Words) -> str:
    return say(f"check.{check.name}") if f"check.{check.name}" in WORDS else check.what


def _found(check: Check, say: Words) -> str:
    return say("checks.lack", labels=", ".join(check.untested)) if check.untested else check.found


def _result(check: Check, say: Words) -> str:
    if check.untested:
        return f"? {say('checks.cannot')}"
    if not check.passed:
        return f"✗ {say('checks.fail')}"
    return f"✓ {say('checks.uncertain' if check.note else 'checks.pass')}"


def _kinds(figures: Figures, say: Words) -> None:
    st.header(say("kinds.title"), divider="gray")
    st.markdown(say("kinds.help"))
    if len(figures.per_class) > charts.MAX_KINDS:
        st.caption(say("kinds.worst", n=charts.MAX_KINDS, all=len(figures.per_class)))
    st.altair_chart(charts.kinds(figures, say))


def _mixed(figures: Figures, say: Words) -> None:
    st.header(say("mixed.title"), divider="gray")
    counts, names = np.array(figures.confusion), list(figures.per_class)
    both = np.triu(counts + counts.T, 1)
    if both.any():
        i, j = np.unravel_index(both.argmax(), both.shape)
        most = say("mixed.most", one=names[i], other=names[j], count=int(both[i, j]))
    else:
        most = say("mixed.never")
    left, right = st.columns([3, 2]) if len(names) <= 12 else (st, st)
    right.markdown(f"**{fragments.markdown_safe(most)}** {say('mixed.help')}")
    left.altair_chart(charts.confusion(figures, say))


def _mistakes(record: RunRecord, say: Words) -> None:
    if not record.mistakes:
        return
    st.header(say("worst.title"), divider="gray")
    st.markdown(say("worst.help"))
    columns = st.columns(3)
    for number, drawn in enumerate(filter(None, (_mistake(mistake, say) for mistake in record.mistakes))):
        columns[number % 3].html(drawn)


def _mistake(mistake: MistakeRecord, say: Words) -> str:
    try:
        picture, evidence = (address(pixels_to_show(data)) for data in (mistake.picture, mistake.evidence))
    except ImageError:
        return ""
    caption = say(
        "worst.caption", answer=mistake.answer, share=fragments.share(mistake.probability), label=mistake.label
    )
    return (
        f'<div class="w-two"><img src="{picture}" alt="{say("answer.picture")}"><img src="{evidence}" '
        f'alt="{say("answer.evidence")}"></div><div class="w-caption">{fragments.safe(caption)}</div>'
    )


def _curves(record: RunRecord, say: Words) -> None:
    if not record.history:
        return
    st.header(say("curves.title"), divider="gray")
    st.markdown(say("curves.help"))
    for column, key in zip(st.columns(2), ("accuracy", "loss"), strict=True):
        if all(key in row and "epoch" in row for row in record.history):
            column.altair_chart(charts.curves(record.history, record.best_epoch, key, say))


def _made(facts: Facts, record: RunRecord, opened: OpenModel, say: Words) -> None:
    st.header(say("made.title"), divider="gray")
    made = " · ".join(word for word in (facts.source, facts.network, facts.recipe, facts.created) if word)
    st.html(f"<p>{fragments.safe(made)}</p>")
    if facts.pictures:
        header = (say("made.kind"), *(say(f"made.{split}") for split in SPLITS))
        rows = [
            (label, *(f"{facts.pictures[split][label]:,}" for split in SPLITS)) for label in opened.predictor.classes
        ]
        with st.container(height=420 if len(rows) > 12 else "content", border=False):
            st.html(fragments.table(header, rows, numbers=3))
    with st.container(horizontal=True):
        if opened.predictor.bundle.card:
            st.download_button(
                say("made.card"), opened.predictor.bundle.card, "model-card.md", on_click="ignore", key="card"
            )
        if record.report:
            st.download_button(
                say("made.report"), record.report.read_bytes, "report.html", on_click="ignore", key="report"
            )
