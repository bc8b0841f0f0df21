from __future__ import annotations

import pytest

from whatsit.apps.streamlit_app import fragments
from whatsit.apps.words import WORDS, Words
from whatsit.errors import ImageError
from whatsit.runtime.predictor import Prediction

SAY = Words("en")
HOSTILE = '<img src=x onerror="alert(1)">'


def prediction(label: str, probability: float = 0.9, *, unknown: bool = False) -> Prediction:
    return Prediction(label, probability, unknown, ((label, probability), ("other", 1 - probability)))


@pytest.mark.parametrize("unknown", [False, True])
def test_names_are_shown_as_they_are(unknown: bool) -> None:
    answer = prediction(HOSTILE, unknown=unknown)
    pieces = (
        fragments.headline(answer, SAY),
        fragments.bars(answer),
        fragments.failure(HOSTILE, ImageError("no", "empty"), SAY),
        fragments.table((HOSTILE,), [(HOSTILE,)], 0),
        fragments.picture("data:", HOSTILE),
        fragments.tile("1", HOSTILE, HOSTILE),
    )
    for piece in pieces:
        assert "<img src=x" not in piece
        assert "&lt;img src=x" in piece


def test_markdown_in_a_name_is_shown_as_it_is() -> None:
    assert fragments.markdown_safe("*a* [b](http://c) $x$ :d:") == r"\*a\* \[b\]\(http\://c\) \$x\$ \:d\:"


def test_unknown_names_the_nearest() -> None:
    piece = fragments.headline(prediction("cat", unknown=True), SAY)
    assert "Unknown" in piece
    assert "“cat”" in piece
    assert "sure" not in piece


def test_doubt_names_the_second() -> None:
    assert "it could also be “other”" in fragments.headline(prediction("cat", 0.55), SAY)
    assert "could also be" not in fragments.headline(prediction("cat", 0.9), SAY)


@pytest.mark.parametrize("language", ["en", "th"])
@pytest.mark.parametrize(
    "reason", ["empty", "too_many_bytes", "too_many_pixels", "heic", "format", "damaged", "unreadable"]
)
def test_every_reason_has_words(reason: str, language: str) -> None:
    assert fragments.reason(ImageError("x", reason), Words(language))


def test_seconds_and_shares() -> None:
    assert fragments.seconds(0.034, SAY) == "0.03 seconds"
    assert fragments.seconds(0.003, SAY) == "less than 0.01 seconds"
    assert fragments.seconds(65.2, SAY) == "65 seconds"
    assert fragments.share(0.981) == "98.1\u00a0%"
    assert all(
        "%" not in text or "95" in text or "80" in text or "(%)" in text for pair in WORDS.values() for text in pair
    )
