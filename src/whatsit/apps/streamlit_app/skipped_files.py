"""What a folder holds that is not used, said in the visitor's language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import streamlit as st

from whatsit.apps import markup
from whatsit.apps.texts import Texts
from whatsit.images.scan import Dataset
from whatsit.images.walk import (
    BACK,
    DANGLING,
    HIDDEN_FOLDERS,
    LINK,
    NO_ENDING,
    SPECIAL,
    UNREADABLE,
    LeftOut,
    holds_pictures,
)
from whatsit.images.walk import describe as describe_in_english

_KEYS = {
    BACK: "back",
    LINK: "link",
    SPECIAL: "special",
    NO_ENDING: "no_ending",
    HIDDEN_FOLDERS: "hidden_folders",
    "hidden files": "hidden_files",
}
_SHOWN = 6  # kinds and sentences


def show_of_folder(found: LeftOut, text: Texts) -> None:
    """Draw what a walk skipped."""
    english = text.language == "en"
    _draw(found.kinds, found.sentences() if english else [problem(*one, text) for one in found.troubles], text)


def show_of_dataset(dataset: Dataset, text: Texts) -> None:
    """Draw what a scan skipped."""
    _draw(dataset.skipped, (*dataset.barren, *dataset.notes), text)


def describe(kinds: Mapping[str, int], text: Texts) -> str:
    """Return such as `3 .svg files (save as JPEG or PNG), 1 hidden file`."""
    if text.language == "en":
        return describe_in_english(kinds)
    ordered = sorted(kinds.items(), key=lambda item: -item[1])
    parts = [_translated(kind, count, text) for kind, count in ordered[:_SHOWN]]
    if others := sum(count for _, count in ordered[_SHOWN:]):
        parts.append(text("skipped.others", n=f"{others:,}"))
    return ", ".join(parts)


def _translated(kind: str, count: int, text: Texts) -> str:
    if kind in _KEYS:
        return text(f"skipped.{_KEYS[kind]}", n=f"{count:,}")
    name, _, what = kind.rpartition(" ")
    advice = text("skipped.save") if holds_pictures([kind]) else ""
    return text("skipped.folders" if what == "folders" else "skipped.files", n=f"{count:,}", name=name) + advice


def problem(name: str, reason: str, text: Texts) -> str:
    """Return why something could not be read; a reason not ours stays as it is."""
    if reason == DANGLING:
        return text("skipped.dangling", name=name)
    if reason.startswith(UNREADABLE):
        return text("skipped.unreadable", name=name, reason=reason.partition(": ")[2])
    return f"{name}: {reason}"


def _draw(kinds: Mapping[str, int], sentences: Iterable[str], text: Texts) -> None:
    if kinds:
        st.html(markup.note(text("skipped.out", what=describe(kinds, text))))
    lines = [markup.markdown_safe(one) for one in sentences]
    if lines:
        more = len(lines) - _SHOWN
        lines = lines[:_SHOWN] + ([text("skipped.others", n=f"{more:,}")] if more > 0 else [])
        st.warning("\n".join((f"{text('skipped.troubles')}\n", *(f"- {line}" for line in lines))))
