"""The page where people review a data set and correct it."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from functools import partial

import streamlit as st

from whatsit.apps import markup
from whatsit.apps.predictions import data_url
from whatsit.apps.streamlit_app import skipped_files
from whatsit.apps.streamlit_app.data_review import KINDS, DataReview, Finding
from whatsit.apps.streamlit_app.widgets import CARDS, SIDE, attempt, button, cards, choose_label, show_error
from whatsit.apps.texts import Texts
from whatsit.errors import ImageError
from whatsit.images.decode import decode_within
from whatsit.images.edits import edits_path, key_of
from whatsit.images.names import plain
from whatsit.images.pictures import Picture

IN_GROUP = 6  # pictures shown of a group
SHOWN_EDITS = 200  # the newest
_ALL = "all"


def show(review: DataReview, text: Texts) -> None:
    """Draw the page."""
    st.title(text("data.title"))
    st.html(markup.note(text("data.intro", log=edits_path(review.data).name)))
    _overview(review, text)
    _explore(review, text)
    kind = _choose(review, text)
    if kind == _ALL:
        label = st.selectbox(text("data.class"), review.dataset.classes, format_func=plain, key="browsed")
        pictures = [Finding((picture,)) for picture in review.of(label)] if label else []
        cards(_page(pictures, "page-all", text), partial(_single, review, text))
    elif kind:
        _findings(review, kind, text)
    _edit_log(review, text)


def _overview(review: DataReview, text: Texts) -> None:
    counts = review.counts()
    st.html(
        markup.tiles(
            (f"{sum(counts.values()):,}", text("data.pictures")),
            (f"{len(counts):,}", text("data.kinds")),
            _open_tile(review, text),
            (f"{len(review.decided):,}", text("data.decided")),
        )
    )
    skipped_files.show_of_dataset(review.dataset, text)
    with st.expander(text("data.counts"), icon=":material/bar_chart:"):
        from whatsit.apps.streamlit_app import charts  # Altair takes a second to load

        st.altair_chart(charts.counts(counts, text))


def _open_tile(review: DataReview, text: Texts) -> tuple[str, ...]:
    """Return how many findings are open, or that nobody has looked."""
    if review.findings() is None:
        return "–", text("data.open"), text("data.unlooked")
    return f"{sum(len(review.open_findings(kind)) for kind in KINDS):,}", text("data.open")


def _explore(review: DataReview, text: Texts) -> None:
    """Draw the button that explores the data, and whether that was done before."""
    findings = review.findings()
    show_error(text)
    if findings is None:
        st.info(text("data.never"))
    elif findings.is_stale:
        st.warning(text("data.stale"))
    if st.button(
        text("data.look" if findings is None else "data.again"),
        icon=":material/search:",
        type="primary" if findings is None or findings.is_stale else "secondary",
    ):
        with st.spinner(text("data.looking"), show_time=True):
            attempt(review.explore)
        attempt(review.reload)
        st.rerun()


def _choose(review: DataReview, text: Texts) -> str | None:
    findings = review.findings()
    counts = {kind: len(review.open_findings(kind)) for kind in (findings.by_kind if findings else ())}

    def named(kind: str) -> str:
        return text(f"doubt.{kind}") if kind == _ALL else f"{text(f'doubt.{kind}')}  {counts[kind]:,}"

    chosen: str | None = st.pills(
        text("data.show"),
        [*counts, _ALL],
        format_func=named,
        default=next(iter(counts), _ALL),
        key="kind",
        required=True,
    )
    return chosen


def _findings(review: DataReview, kind: str, text: Texts) -> None:
    findings = review.open_findings(kind)
    st.markdown(text(f"doubtful.{kind}", data=shlex.quote(review.data)))
    if not findings:
        st.success(text("data.done"))
        return
    shown = _page(findings, f"page-{kind}", text)
    if kind == "unreadable":
        rows = [(one.name, _reason(review, one.name, text)) for one in shown]
        st.html(markup.table((text("batch.file"), ""), rows))
    elif any(len(one.pictures) > 1 for one in shown):
        for finding in shown:
            _group(review, finding, text, can_stay=kind != "conflicts")
    else:
        cards(shown, partial(_single, review, text))


def _reason(review: DataReview, name: str, text: Texts) -> str:
    """Return why a file cannot be read, in the visitor's language."""
    try:
        decode_within(review.dataset.store.read(name), SIDE)
    except ImageError as error:
        return markup.reason(error, text)
    return ""


def _page(items: Sequence[Finding], key: str, text: Texts) -> Sequence[Finding]:
    """Draw the buttons that turn pages, and return the items of the current page."""
    pages = max(1, -(-len(items) // CARDS))
    page = min(st.session_state.get(key, 0), pages - 1)
    if pages > 1:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(text("data.previous"), f"{key}-less", on_click=_turn, args=(key, page - 1), disabled=page == 0)
            is_last = page + 1 == pages
            st.button(text("data.next"), f"{key}-more", on_click=_turn, args=(key, page + 1), disabled=is_last)
            st.caption(text("data.page", page=page + 1, pages=pages))
    return items[page * CARDS : (page + 1) * CARDS]


def _turn(key: str, page: int) -> None:
    st.session_state[key] = page


def _group(review: DataReview, finding: Finding, text: Texts, *, can_stay: bool) -> None:
    with st.container(border=True):
        for column, picture in zip(st.columns(IN_GROUP), finding.pictures[:IN_GROUP], strict=False):
            with column:
                _card(review, picture, text, is_grouped=True)
        with st.container(horizontal=True, vertical_alignment="center"):
            if can_stay:
                st.button(
                    text("data.all_right"),
                    key=f"group-{_token(finding.pictures[0])}",
                    icon=":material/check:",
                    on_click=attempt,
                    args=(review.decide, [key_of(picture) for picture in finding.pictures], "confirm"),
                )
            if (hidden := len(finding.pictures) - IN_GROUP) > 0:
                st.caption(text("data.hidden", n=hidden))


def _single(review: DataReview, text: Texts, finding: Finding) -> None:
    _card(review, finding.pictures[0], text, finding.suggested, finding.confidence or 0.0, finding.reason)


def _card(
    review: DataReview,
    picture: Picture,
    text: Texts,
    suggested: str = "",
    confidence: float = 0.0,
    reason: str = "",
    *,
    is_grouped: bool = False,
) -> None:
    """Draw a picture, what was found about it, and what can be decided."""
    label, token, keys, decide = review.label_of(picture), _token(picture), [key_of(picture)], review.decide
    try:
        url = data_url(decode_within(review.dataset.read(picture), SIDE), quality=85)
    except ImageError as error:
        st.html(markup.failure(picture.name, error, text))
        return
    caption = text("data.is", label=label) if label else text("data.left_out")
    if suggested and label == picture.label:
        caption += " · " + text("data.looks", label=suggested, share=markup.share(confidence))
    st.html(markup.card(url, caption, picture.name, faint=not label))
    if keys[0] in review.decided:
        undo = (decide, keys, "undo")
        st.button(text("data.back"), f"back-{token}", icon=":material/undo:", on_click=attempt, args=undo)
        return
    leave_out = partial(button, text("data.leave_out"), f"out-{token}", decide, keys, "exclude")
    if suggested:
        button(text("data.it_is", label=suggested), f"yes-{token}", decide, keys, "label", suggested, kind="primary")
        button(text("data.it_is", label=label), f"no-{token}", decide, keys, "confirm")
    elif is_grouped or reason:
        leave_out()
        if reason:
            button(text("data.right"), f"right-{token}", decide, keys, "confirm")
    with st.popover(text("data.other"), width="stretch"):
        others = [name for name in review.dataset.classes if name != label]
        if chosen := choose_label(others, f"other-{token}", text):
            button(text("data.it_is", label=chosen), f"set-{token}", decide, keys, "label", chosen, kind="primary")
        if suggested or not (is_grouped or reason):
            leave_out()


def _token(picture: Picture) -> str:
    return hashlib.sha256("\n".join(key_of(picture)).encode(errors="backslashreplace")).hexdigest()[:24]


def _edit_log(review: DataReview, text: Texts) -> None:
    st.header(text("data.log"), divider="gray")
    newest = sorted(review.decided.values(), key=lambda edit: edit.time, reverse=True)[:SHOWN_EDITS]
    if not newest:
        st.html(markup.note(text("data.log_empty")))
        return
    column = st.column_config.TextColumn
    picked = st.dataframe(
        {
            "file": [plain(edit.image) for edit in newest],
            "what": [text(f"did.{edit.action}", given=edit.given, label=edit.label) for edit in newest],
            "time": [edit.time.replace("T", " ").removesuffix("+00:00") for edit in newest],
        },
        column_config={
            "file": column(text("batch.file"), width="medium"),
            "what": column(text("data.what"), width="large"),
            "time": column(text("data.when"), width="medium"),
        },
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"edits-{len(review.edits)}",  # of another list other rows are ticked
        height=min(360, 40 + 36 * len(newest)),
    )
    keys = [newest[row].key for row in picked.selection.rows if row < len(newest)]
    if keys:
        undo = (review.decide, keys, "undo")
        st.button(text("data.take_back", n=len(keys)), icon=":material/undo:", on_click=attempt, args=undo)
    else:
        st.caption(text("data.tick"))
    st.markdown(text("data.train"))
    st.code(f"whatsit train {shlex.quote(review.data)}", language="bash")
