"""Commands in the documentation are commands that whatsit has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.docs.pages import DOCS, ROOT, commands
from whatsit.apps.cli import app

PAGES = sorted(
    [
        *DOCS.glob("*.md"),
        *(p for folder in ("get-started", "how-to", "explanation") for p in (DOCS / folder).glob("*.md")),
    ]
)
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "README.th.md"], ids=lambda path: path.name)
def test_every_command_is_one_that_can_be_given(page: Path) -> None:
    for number, (name, *words) in commands(page):
        assert name in COMMANDS, f"{page}:{number}: whatsit {name}"
        command = COMMANDS[name]
        command.make_context(name, list(words), resilient_parsing=False)  # raises where an option is unknown


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "README.th.md"], ids=lambda path: path.name)
def test_every_command_in_a_sentence_exists(page: Path) -> None:
    for name, rest in re.findall(r"`whatsit ([a-z]+)([^`]*)`", page.read_text(encoding="utf-8")):
        assert name in COMMANDS, name
        options = {
            option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", rest)) <= options | {"--help"}, (
            f"{page}: whatsit {name}{rest}"
        )
