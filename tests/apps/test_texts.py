from __future__ import annotations

import re
from pathlib import Path

import pytest

from whatsit.apps.texts import LANGUAGES, TEXTS, Texts, language_of

APPS = Path(__file__).parent.parent.parent / "src" / "whatsit" / "apps"
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in APPS.rglob("*.py"))


def places(text: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", text))


ENGLISH, THAI = TEXTS["en"], TEXTS["th"]


def test_every_text_exists_in_both_languages() -> None:
    assert list(ENGLISH) == list(THAI)


@pytest.mark.parametrize("key", ENGLISH)
def test_both_languages_say_the_same_thing(key: str) -> None:
    english, thai = ENGLISH[key], THAI[key]
    assert places(english) == places(thai)
    assert re.search("[\u0e01-\u0e5b]", thai)
    assert not re.search("[\u0e01-\u0e5b]", english)


def test_every_word_that_is_asked_for_is_there_and_no_other() -> None:
    asked = set(re.findall(r"""["']([a-z_]+(?:\.[a-z_0-9]+)?)["']""", SOURCE))
    prefixes = set(re.findall(r"""f["']([a-z]+\.){""", SOURCE))
    said = {key for key in ENGLISH if key in asked or any(key.startswith(prefix) for prefix in prefixes)}
    assert set(ENGLISH) - said == set()
    called = set(re.findall(r"""text\(["']([^"']+)["']""", SOURCE))
    assert called - set(ENGLISH) == set()


@pytest.mark.parametrize("key", [key for key in ENGLISH if key.startswith("widget.")] + ["live.denied"])
def test_words_in_style_sheets_cannot_end_the_string(key: str) -> None:
    assert not set('"\\\n<') & set("".join((ENGLISH[key], THAI[key])))


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


def test_placeholders_are_filled_in() -> None:
    assert Texts("en")("batch.failed", n=3) == "3 could not be read"
    assert "3" in Texts("th")("batch.failed", n=3)
