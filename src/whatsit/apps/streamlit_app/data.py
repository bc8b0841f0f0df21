"""The page where a person looks through a data set and puts it right."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence

import streamlit as st

from whatsit.apps.answers import address
from whatsit.apps.streamlit_app import charts, fragments, left_out
from whatsit.apps.streamlit_app.desk import KINDS, Desk, Item, open_desk, renew_desk
from whatsit.apps.words import Words
from whatsit.errors import ImageError, WhatsitError
from whatsit.evaluation.wording import plain
from whatsit.images.decode import decode_within
from whatsit.images.edits import edits_path, key_of
from whatsit.images.scan import Picture

AT_ONCE = 12  # findings on a page
IN_GROUP = 6  # pictures shown of a group
SIDE = 320  # pixels
SHOWN_EDITS = 200  # the newest
_ALL = "all"


def show(say: Words) -> None:
    """Draw the page."""
    desk = open_desk()
    if desk is None:
        return
    st.title(say("data.title"))
    st.html(f'<p class="w-soft">{fragments.safe(say("data.intro", log=edits_path(desk.data).name))}</p>')
    _glance(desk, say)
    _look(desk, say)
    tab = _choose(desk, say)
    if tab == _ALL:
        _browse(desk, say)
    elif tab:
        _findings(desk, tab, say)
    _log(desk, say)


def _glance(desk: Desk, say: Words) -> None:
    counts, decided = desk.counts(), desk.decided()
    st.html(
        fragments.tiles(
            fragments.tile(f"{sum(counts.values()):,}", say("data.pictures")),
            fragments.tile(f"{len(counts):,}", say("data.kinds")),
            fragments.tile(f"{sum(len(desk.open_items(kind)) for kind in KINDS):,}", say("data.open")),
            fragments.tile(f"{len(decided):,}", say("data.decided")),
        )
    )
    left_out.show_of(desk.dataset, say)
    with st.expander(say("data.counts"), icon=":material/bar_chart:"):
        st.altair_chart(charts.counts(counts, say))


def _look(desk: Desk, say: Words) -> None:
    """What was found before, or the button that has everything looked at."""
    found = desk.found()
    if failed := st.session_state.pop("look_failed", None):
        st.error(say("failed", reason=fragments.markdown_safe(failed)))
    if found is None:
        st.info(say("data.never"))
    elif found.stale:
        st.warning(say("data.stale"))
    if st.button(
        say("data.look" if found is None else "data.again"),
        icon=":material/search:",
        type="primary" if found is None or found.stale else "secondary",
    ):
        with st.spinner(say("data.looking"), show_time=True):
            try:
                desk.look()
            except WhatsitError as error:
                st.session_state["look_failed"] = str(error)
        renew_desk()
        st.rerun()


def _choose(desk: Desk, say: Words) -> str | None:
    found = desk.found()
    counts = {kind: len(desk.open_items(kind)) for kind in (found.items if found else ())}

    def named(kind: str) -> str:
        return say(f"doubt.{kind}") if kind == _ALL else f"{say(f'doubt.{kind}')}  {counts[kind]:,}"

    chosen: str | None = st.pills(
        say("data.show"),
        [*counts, _ALL],
        format_func=named,
        default=next(iter(counts), _ALL),
        key="kind",
        required=True,
    )
    return chosen


def _findings(desk: Desk, kind: str, say: Words) -> None:
    items = desk.open_items(kind)
    st.markdown(say(f"doubtful.{kind}", data=shlex.quote(desk.data)))
    if not items:
        st.success(say("data.done"))
        return
    shown = _page(items, f"page-{kind}", say)
    if kind == "unreadable":
        rows = [(one.name, _why(desk, one.name, say)) for one in shown]
        st.html(fragments.table((say("batch.file"), ""), rows, numbers=0))
    elif any(len(one.pictures) > 1 for one in shown):
        for item in shown:
            _group(desk, item, say, kind)
    else:
        _cards(desk, shown, say)


def _why(desk: Desk, name: str, say: Words) -> str:
    """Why a file cannot be read, in the visitor's language."""
    try:
        decode_within(desk.dataset.store.read(name), SIDE)
    except ImageError as error:
        return fragments.reason(error, say)
    return ""


def _browse(desk: Desk, say: Words) -> None:
    label = st.selectbox(say("data.class"), desk.dataset.classes, format_func=plain, key="browsed")
    pictures = [Item((picture,)) for picture in desk.of(label)] if label else []
    _cards(desk, _page(pictures, "page-all", say), say)


def _page(items: Sequence[Item], key: str, say: Words) -> Sequence[Item]:
    pages = max(1, -(-len(items) // AT_ONCE))
    page = min(st.session_state.get(key, 0), pages - 1)
    if pages > 1:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(say("data.previous"), key=f"{key}-less", on_click=_turn, args=(key, page - 1), disabled=page == 0)
            st.button(
                say("data.next"), key=f"{key}-more", on_click=_turn, args=(key, page + 1), disabled=page + 1 == pages
            )
            st.caption(say("data.page", page=page + 1, pages=pages))
    return items[page * AT_ONCE : (page + 1) * AT_ONCE]


# Streamlit keeps callbacks for as long as the visit, so these hold no pictures.


def _turn(key: str, page: int) -> None:
    st.session_state[key] = page


def _cards(desk: Desk, items: Sequence[Item], say: Words) -> None:
    for start in range(0, len(items), 4):
        for column, item in zip(st.columns(4), items[start : start + 4], strict=False):
            with column, st.container(border=True):
                _card(desk, item.pictures[0], say, item)


def _group(desk: Desk, item: Item, say: Words, kind: str) -> None:
    with st.container(border=True):
        for column, picture in zip(st.columns(IN_GROUP), item.pictures[:IN_GROUP], strict=False):
            with column:
                _card(desk, picture, say, grouped=True)
        hidden = len(item.pictures) - IN_GROUP
        with st.container(horizontal=True, vertical_alignment="center"):
            if kind != "conflicts":  # those cannot stay as they are
                st.button(
                    say("data.all_right"),
                    key=f"group-{_token(item.pictures[0])}",
                    icon=":material/check:",
                    on_click=_decide,
                    args=([key_of(picture) for picture in item.pictures], "confirm"),
                )
            if hidden > 0:
                st.caption(say("data.hidden", n=hidden))


def _card(desk: Desk, picture: Picture, say: Words, item: Item | None = None, *, grouped: bool = False) -> None:
    """A picture, what is said about it, and what can be decided."""
    label, key, token = desk.label_of(picture), key_of(picture), _token(picture)
    try:
        shown = address(decode_within(desk.dataset.read(picture), SIDE), quality=85)
    except ImageError as error:
        st.html(fragments.failure(picture.name, error, say))
        return
    about = say("data.is", label=label) if label else say("data.left_out")
    if item and item.suggested and label == picture.label:
        sure = fragments.share(item.confidence or 0.0)
        about += " · " + say("data.looks", label=item.suggested, share=sure)
    st.html(fragments.card(shown, about, picture.name, faint=not label))
    edit = desk.decided().get(key)
    if edit:
        st.button(say("data.back"), key=f"back-{token}", icon=":material/undo:", on_click=_decide, args=([key], "undo"))
        return
    if item and item.suggested:
        _button(say("data.it_is", label=item.suggested), f"yes-{token}", [key], "label", item.suggested, kind="primary")
        _button(say("data.it_is", label=label), f"no-{token}", [key], "confirm")
    elif grouped:
        _button(say("data.leave_out"), f"out-{token}", [key], "exclude")
    elif item and item.reason:
        _button(say("data.leave_out"), f"out-{token}", [key], "exclude")
        _button(say("data.right"), f"right-{token}", [key], "confirm")
    with st.popover(say("data.other"), width="stretch"):
        others = [name for name in desk.dataset.classes if name != label]
        chosen = st.selectbox(say("data.right_label"), others, index=None, format_func=plain, key=f"other-{token}")
        if chosen:
            _button(say("data.it_is", label=chosen), f"set-{token}", [key], "label", chosen, kind="primary")
        if not grouped and not (item and item.reason and not item.suggested):
            _button(say("data.leave_out"), f"out-{token}", [key], "exclude")


def _button(
    text: str, token: str, keys: list[tuple[str, str, str]], action: str, label: str = "", kind: str = "secondary"
) -> None:
    st.button(
        fragments.markdown_safe(text),
        key=token,
        type="primary" if kind == "primary" else "secondary",
        width="stretch",
        on_click=_decide,
        args=(keys, action, label),
    )


def _token(picture: Picture) -> str:
    return hashlib.sha256("\n".join(key_of(picture)).encode(errors="backslashreplace")).hexdigest()[:24]


def _decide(keys: list[tuple[str, str, str]], action: str, label: str = "") -> None:
    desk = open_desk()
    if desk:
        try:
            desk.decide(keys, action, label)
        except WhatsitError as error:
            st.session_state["look_failed"] = str(error)


def _log(desk: Desk, say: Words) -> None:
    decided = list(desk.decided().values())
    st.header(say("data.log"), divider="gray")
    if not decided:
        st.html(f'<p class="w-soft">{say("data.log_empty")}</p>')
        return
    newest = sorted(decided, key=lambda edit: edit.time, reverse=True)[:SHOWN_EDITS]
    picked = st.dataframe(
        {
            "file": [plain(edit.image) for edit in newest],
            "what": [
                say("did.label", given=edit.given, label=edit.label)
                if edit.action == "label"
                else say(f"did.{edit.action}", given=edit.given)
                for edit in newest
            ],
            "time": [edit.time.replace("T", " ").removesuffix("+00:00") for edit in newest],
        },
        column_config={
            "file": st.column_config.TextColumn(say("batch.file"), width="medium"),
            "what": st.column_config.TextColumn(say("data.what"), width="large"),
            "time": st.column_config.TextColumn(say("data.when"), width="medium"),
        },
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"edits-{len(desk.edits)}",  # of another list other rows are ticked
        height=min(360, 40 + 36 * len(newest)),
    )
    rows = [row for row in picked.selection.rows if row < len(newest)]
    if rows:
        st.button(
            say("data.take_back", n=len(rows)),
            icon=":material/undo:",
            on_click=_decide,
            args=([newest[row].key for row in rows], "undo"),
        )
    else:
        st.caption(say("data.tick"))
    st.markdown(say("data.train"))
    st.code(f"whatsit train {shlex.quote(desk.data)}", language="bash")
