"""What lies in a folder and was passed over, said on a page: else nobody knows why pictures are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import streamlit as st

from whatsit.apps.streamlit_app import fragments
from whatsit.apps.words import Words
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
    describe,
    holds_pictures,
)

_NAMED = {
    BACK: "back",
    LINK: "link",
    SPECIAL: "special",
    NO_ENDING: "no_ending",
    HIDDEN_FOLDERS: "hidden_folders",
    "hidden files": "hidden_files",
}
_MOST = 6  # kinds and sentences shown


def show(found: LeftOut, say: Words) -> None:
    """Draw what a walk left out."""
    told = found.sentences() if say.language == "en" else [trouble(*one, say) for one in found.troubles]
    _draw(found.kinds, told, say)


def show_of(dataset: Dataset, say: Words) -> None:
    """Draw what a scan left out."""
    _draw(dataset.passed_over, (*dataset.barren, *dataset.notes), say)


def words(kinds: Mapping[str, int], say: Words) -> str:
    """Return such as `3 .svg files (save as JPEG or PNG), 1 hidden file`, in the visitor's language."""
    if say.language == "en":
        return describe(kinds)
    ordered = sorted(kinds.items(), key=lambda item: -item[1])
    told = [_thai(kind, count, say) for kind, count in ordered[:_MOST]]
    if others := sum(count for _, count in ordered[_MOST:]):
        told.append(say("left.others", n=f"{others:,}"))
    return ", ".join(told)


def _thai(kind: str, count: int, say: Words) -> str:
    if kind in _NAMED:
        return say(f"left.{_NAMED[kind]}", n=f"{count:,}")
    name, _, what = kind.rpartition(" ")
    key = "left.folders" if what == "folders" else "left.files"
    advice = say("left.save") if holds_pictures([kind]) else ""
    return say(key, n=f"{count:,}", name=name) + advice


def trouble(name: str, reason: str, say: Words) -> str:
    """Return why something could not be read, in the visitor's language where the reason is one of ours."""
    if reason == DANGLING:
        return say("left.dangling", name=name)
    if reason.startswith(UNREADABLE):
        return say("left.unreadable", name=name, reason=reason.partition(": ")[2])
    return f"{name}: {reason}"


def _draw(kinds: Mapping[str, int], sentences: Iterable[str], say: Words) -> None:
    told = list(sentences)
    if kinds:
        st.html(f'<p class="w-soft">{fragments.safe(say("left.out", what=words(kinds, say)))}</p>')
    if told:
        shown = "\n".join(f"- {fragments.markdown_safe(one)}" for one in told[:_MOST])
        if (more := len(told) - _MOST) > 0:
            shown += f"\n- {say('left.others', n=f'{more:,}')}"
        st.warning(f"{say('left.troubles')}\n\n{shown}")
