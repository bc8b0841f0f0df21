"""Widgets that several pages share.

Streamlit keeps the callbacks of every widget that ever was, so these must not hold what belongs to a visit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import streamlit as st

from whatsit.apps import markup
from whatsit.apps.predictions import data_url
from whatsit.apps.texts import Texts
from whatsit.errors import ImageError, WhatsitError
from whatsit.images.decode import decode_within
from whatsit.images.names import plain

CARDS = 12  # on a page
SIDE = 320  # pixels of a picture on a card
_COLUMNS = 4
_ERROR = "error"
_Item = TypeVar("_Item")


def translations(text: Texts) -> str:
    """Return a style sheet that replaces the English texts of Streamlit's own widgets."""

    def replaced(selector: str, key: str) -> str:
        shown = f'content: "{text(key)}"; font-size: 1rem; line-height: 1.5;'
        return f"{selector} {{ font-size: 0 !important; }} {selector}::after {{ {shown} }}"

    field, camera = '[data-testid="stFileUploader"]', '[data-testid="stCameraInputButton"]'
    denied = '[data-testid="stCameraInputWebcamComponent"] div:has(> a[target])'
    rules = (
        replaced(f'{field} [data-testid="stBaseButton-secondary"] p', "widget.choose"),
        replaced(f'{field} [data-testid="stFileUploaderDropzoneInstructions"] span', "widget.drop"),
        f'{field}:has([aria-invalid="true"])::after {{ content: "{text("widget.too_large")}"; }}',
        replaced(f"{camera}:not(:has(svg))", "widget.shoot"),
        replaced(f"{camera}:has(svg) span", "widget.again"),
        f"{denied} > a {{ display: none; }}",
        replaced(denied, "live.denied"),
    )
    return "<style>{}</style>".format("\n".join(rules))


def attempt(action: Callable[..., object], *arguments: object) -> None:
    """Do what a button is for; an error is kept for `pop_error`."""
    try:
        action(*arguments)
    except WhatsitError as error:
        st.session_state[_ERROR] = str(error)


def pop_error() -> str:
    """Return the error of the last button as Markdown, once; empty without one."""
    return markup.markdown_safe(st.session_state.pop(_ERROR, ""))


def show_error(text: Texts) -> None:
    """Draw the error of the last button."""
    if reason := pop_error():
        st.error(text("page.failed", reason=reason))


def button(
    label: str,
    key: str,
    action: Callable[..., object],
    *arguments: object,
    kind: Literal["primary", "secondary"] = "secondary",
) -> None:
    """Draw a button as wide as its card; the label is shown as it is."""
    st.button(
        markup.markdown_safe(label),
        key=key,
        type=kind,
        width="stretch",
        on_click=attempt,
        args=(action, *arguments),
    )


def choose_label(labels: Sequence[str], key: str, text: Texts, *, new: bool = False) -> str | None:
    """Draw a choice among labels, or also of a new one, and return what was chosen."""
    chosen: str | None = st.selectbox(
        text("data.right_label"), labels, index=None, format_func=plain, accept_new_options=new, key=key
    )
    return chosen


def cards(items: Sequence[_Item], draw: Callable[[_Item], None]) -> None:
    """Draw items in rows of cards."""
    for start in range(0, len(items), _COLUMNS):
        for column, item in zip(st.columns(_COLUMNS), items[start : start + _COLUMNS], strict=False):
            with column, st.container(border=True):
                draw(item)


def picture_url(read: Callable[[], bytes], side: int = SIDE, quality: int = 85) -> str:
    """Return a URL that holds a picture; empty where it cannot be read."""
    try:
        return data_url(decode_within(read(), side), quality)
    except (OSError, ImageError):
        return ""
