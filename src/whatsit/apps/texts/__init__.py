"""The texts of the apps, a file a language: `en.toml`, `th.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = {"th": "ไทย", "en": "English"}


def _read(language: str) -> Mapping[str, str]:
    tables = tomllib.loads((Path(__file__).parent / f"{language}.toml").read_text(encoding="utf-8"))
    return {f"{group}.{name}": text for group, texts in tables.items() for name, text in texts.items()}


TEXTS: Mapping[str, Mapping[str, str]] = {language: _read(language) for language in LANGUAGES}


@dataclass(frozen=True)
class Texts:
    """The texts of one language."""

    language: str  # a key of LANGUAGES

    def __call__(self, key: str, **values: object) -> str:
        """Return a text, such as `classify.title`, with its `{placeholders}` filled in."""
        return TEXTS[self.language][key].format(**values)


def language_of(locale: str | None) -> str:
    """Return `th` for a browser that prefers Thai, else `en`."""
    return "th" if (locale or "").lower().split("-")[0] == "th" else "en"
