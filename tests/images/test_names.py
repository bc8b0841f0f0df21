from __future__ import annotations

import pytest

from whatsit.images.names import drawable, is_plain, label_fault, plain, plain_text, printable

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
WALES = "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"
LEGAL = [
    "cat",
    "ผัดไทย",
    "น้ำ\u200bตก",  # with a zero-width space between words, as Thai editors write
    FAMILY,
    WALES,
    "\u2764\ufe0f",
    "می\u200cخواهم",
    "\u06ddآية",
    "naïve",
    "ไม้เอก ่",
]
HARMFUL = [
    "\u202e",
    "\u2066",
    "\u200f",
    "\u061c",
    "\x00",
    "\x1b",
    "\x85",
    "\n",
    "\u2028",
    "\ud800",
    "\ufeff",
    "\u00ad",
    "\U000e0041",
]


@pytest.mark.parametrize("name", LEGAL)
def test_letters_of_all_scripts_and_emoji_are_legal_and_shown_as_they_are(name: str) -> None:
    assert label_fault(name) is None
    assert is_plain(name)
    assert plain(name) == name


@pytest.mark.parametrize("character", HARMFUL)
def test_unseen_characters_are_named(character: str) -> None:
    fault = label_fault(f"ca{character}t")
    assert fault is not None
    assert f"U+{ord(character):04X}" in fault
    assert fault.isprintable()
    assert not is_plain(f"ca{character}t")


@pytest.mark.parametrize("character", [c for c in HARMFUL if c not in "\ufeff\u00ad\U000e0041"])
def test_what_steers_is_shown_by_a_sign(character: str) -> None:
    assert plain(f"a{character}b") == "a\ufffdb"
    assert drawable(f"a{character}b") == "a\ufffdb"
    assert printable(f"a{character}b").isprintable()


def test_terminal_shows_joined_letters_and_escapes_the_rest() -> None:
    assert printable(f"{FAMILY} น้ำ\u200bตก") == f"{FAMILY} น้ำ\u200bตก"
    assert printable("a\u202eb\x1b") == "a\\u202eb\\x1b"


def test_lines_and_tabs_of_a_text_stay() -> None:
    assert plain_text("# a\n\tb\u202e\r\n") == "# a\n\tb\ufffd\ufffd\n"


def test_fonts_get_no_joiners() -> None:
    assert drawable(FAMILY) == "\U0001f468\U0001f469\U0001f467"
    assert drawable(WALES) == "\U0001f3f4"
