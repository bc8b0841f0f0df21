from __future__ import annotations

import pytest

from whatsit.apps import markup
from whatsit.apps.texts import TEXTS, Texts
from whatsit.errors import ImageError
from whatsit.runtime.predictor import Overruled, Prediction

TEXT = Texts("en")
HOSTILE = '<img src=x onerror="alert(1)">'


def prediction(label: str, probability: float = 0.9, *, unknown: bool = False) -> Prediction:
    return Prediction(label, probability, unknown, ((label, probability), ("other", 1 - probability)))


@pytest.mark.parametrize("unknown", [False, True])
def test_names_are_shown_as_they_are(unknown: bool) -> None:
    answer = prediction(HOSTILE, unknown=unknown)
    pieces = (
        markup.headline(answer, TEXT),
        markup.bars(answer),
        markup.failure(HOSTILE, ImageError("no", "empty"), TEXT),
        markup.table((HOSTILE,), [(HOSTILE,)], 0),
        markup.picture("data:", HOSTILE),
        markup.tiles(("1", HOSTILE, HOSTILE)),
    )
    for piece in pieces:
        assert "<img src=x" not in piece
        assert "&lt;img src=x" in piece


def test_markdown_in_a_name_is_shown_as_it_is() -> None:
    assert markup.markdown_safe("*a* [b](http://c) $x$ :d:") == r"\*a\* \[b\]\(http\://c\) \$x\$ \:d\:"


def test_unknown_names_the_nearest() -> None:
    piece = markup.headline(prediction("cat", unknown=True), TEXT)
    assert "Unknown" in piece
    assert "“cat”" in piece
    assert "sure" not in piece


def test_doubt_names_the_second() -> None:
    assert "it could also be “other”" in markup.headline(prediction("cat", 0.55), TEXT)
    assert "could also be" not in markup.headline(prediction("cat", 0.9), TEXT)


@pytest.mark.parametrize("language", ["en", "th"])
def test_an_answer_that_is_not_the_most_probable_class_says_why(language: str) -> None:
    overruled = Overruled("edible", 0.93, 7.0, 0.93)
    answer = Prediction("poisonous", 0.07, False, (("edible", 0.93), ("poisonous", 0.07)), None, overruled)
    piece = markup.headline(answer, Texts(language))
    assert "<b>poisonous</b>" in piece
    assert "“edible” (93.0\u00a0%)" in piece
    assert TEXTS[language]["answer.unsure"][:8] not in piece


@pytest.mark.parametrize("language", ["en", "th"])
@pytest.mark.parametrize(
    "reason", ["empty", "too_many_bytes", "too_many_pixels", "heic", "format", "damaged", "unreadable"]
)
def test_every_reason_has_words(reason: str, language: str) -> None:
    assert markup.reason(ImageError("x", reason), Texts(language))


def test_seconds_and_shares() -> None:
    assert markup.seconds(0.034, TEXT) == "0.03 seconds"
    assert markup.seconds(0.003, TEXT) == "less than 0.01 seconds"
    assert markup.seconds(65.2, TEXT) == "65 seconds"
    assert markup.share(0.981) == "98.1\u00a0%"
    assert all(
        "%" not in text or "95" in text or "80" in text or "(%)" in text
        for texts in TEXTS.values()
        for text in texts.values()
    )
