"""The pages of the documentation, and what is in them to be run.

Beside its code a page may hold comments `<!-- docs-test: ... -->`, which the site leaves out. Some prepare what the code works
on: `photos DIR N [KIND...]` draws pictures into class folders (a KIND may be `CLASS=KIND`), `more` other ones under other names,
`loose` other ones under the same names; `picture FILE KIND` draws one, `broken FILE` none; `network FILE` and `classifier FILE
CLASS...` make small networks; `run COMMAND` runs it, `wait FILE` waits until something is in it, `stop` ends the servers.

Of the next block (or `run`) others say: `skip, WHY` that it is not run, `needs WHAT` that it is run where that is installed,
`fails` or `either` that its exit code is 1 or may be. What is not run is listed at the end of `make docs-test`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NOTE = re.compile(r"<!-- docs-test: (.*?) -->")
RUN = ("get-started", "how-to")  # folders whose pages are run


@dataclass(frozen=True)
class Block:
    """A code block, or a comment for the tests."""

    language: str  # `note` for a comment
    text: str
    line: int  # of the page, from 0, at which its text begins
    title: str = ""
    notes: tuple[str, ...] = ()  # said of it by the comments before it


def blocks(path: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    found: list[Block] = []
    notes: list[str] = []
    for token in MarkdownIt().parse(path.read_text(encoding="utf-8")):
        line = token.map[0] if token.map else 0
        if token.type == "html_block":
            for said in NOTE.findall(token.content):
                if said.split()[0] in ("skip,", "needs", "fails", "either"):
                    notes.append(said)
                else:
                    found.append(Block("note", said, line, notes=tuple(notes)))
                    notes = []
        if token.type == "fence":
            language, _, rest = token.info.partition(" ")
            title = re.search(r'title="([^"]*)"', rest)
            found.append(Block(language, token.content, line + 1, title[1] if title else "", tuple(notes)))
            notes = []
    return found


def pages(*, thai: bool) -> list[Path]:
    """Return the pages that are run; a Thai one has the same code as the English one."""
    found = sorted(path for folder in RUN for path in (DOCS / folder).glob("*.md"))
    return [path for path in found if path.name.endswith(".th.md") == thai]


def commands(path: Path) -> list[tuple[int, list[str]]]:
    """Return each `whatsit ...` in the code of a page, with its line, as words."""
    found = []
    for block in blocks(path):
        if block.language not in ("sh", "console", ""):
            continue
        for number, line in enumerate(block.text.splitlines(), block.line + 1):
            text = line.removeprefix("$ ").strip()
            if text.startswith(("whatsit ", ".venv/bin/whatsit ")):
                words = shlex.split(text, comments=True)
                found.append((number, words[1:]))
    return found
