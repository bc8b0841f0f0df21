from __future__ import annotations

import re
from pathlib import Path

import pytest

from whatsit.apps.words import LANGUAGES, WORDS, Words, language_of

APPS = Path(__file__).parent.parent.parent / "src" / "whatsit" / "apps"
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in APPS.rglob("*.py") if path.name != "words.py")


def places(text: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", text))


@pytest.mark.parametrize("key", WORDS)
def test_both_languages_say_the_same_thing(key: str) -> None:
    english, thai = WORDS[key]
    assert places(english) == places(thai)
    assert re.search("[\u0e01-\u0e5b]", thai)
    assert not re.search("[\u0e01-\u0e5b]", english)


def test_every_word_that_is_asked_for_is_there_and_no_other() -> None:
    asked = set(re.findall(r"""["']([a-z_]+(?:\.[a-z_0-9]+)?)["']""", SOURCE))
    prefixes = set(re.findall(r"""f["']([a-z]+\.){""", SOURCE))
    said = {key for key in WORDS if key in asked or any(key.startswith(prefix) for prefix in prefixes)}
    assert set(WORDS) - said == set()
    called = set(re.findall(r"""say\(["']([^"']+)["']""", SOURCE))
    assert called - set(WORDS) == set()


@pytest.mark.parametrize("key", [key for key in WORDS if key.startswith("widget.")] + ["live.denied"])
def test_words_in_style_sheets_cannot_end_the_string(key: str) -> None:
    assert not set('"\\\n<') & set("".join(WORDS[key]))


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("th-TH", "th"),
        ("th", "th"),
        ("TH", "th"),
        ("en-US", "en"),
        ("de", "en"),
        (None, "en"),
        ("", "en"),
        ("tho", "en"),
    ],
)
def test_language_by_locale(locale: str | None, language: str) -> None:
    assert language_of(locale) == language
    assert language in LANGUAGES


def test_places_are_filled_in() -> None:
    assert Words("en")("batch.failed", n=3) == "3 could not be read"
    assert "3" in Words("th")("batch.failed", n=3)
