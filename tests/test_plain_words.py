"""The words that whatsit does not use, because a newcomer must read them twice or cannot search for them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST = 80  # characters of a docstring's first line
# Each with what to say instead.
NOT_TO_BE_USED = {
    r"(gone|go|goes|going|went) on with": "resume, continue",
    r"begun anew|made anew|begins anew|begin anew": "start again, compute again",
    r"(is|are|was) told": "reports, warns",
    r"what comes of": "the result of",
    r"so many": "this many, a number",
    r"cry wolf|cries wolf": "false alarm",
    r"the like": "similar",
    r"whatever was": "what was, everything",
    r"none is": "there is no",
    r"of one's own": "own",
    r"strays": "skipped files",
    r"workplace": "workspace",
    r"put away|puts away": "exclude",
    r"doctor": "data audit",
}
PATTERN = re.compile(rf"\b({'|'.join(NOT_TO_BE_USED)})\b", re.IGNORECASE)


def files() -> list[Path]:
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/**/*.toml")]
    return sorted([*found, *ROOT.glob("src/**/*.py"), *ROOT.glob("notebooks/*.ipynb")])


def docstrings(path: Path) -> list[tuple[str, str]]:
    """The first line of each docstring of a module, with the name of what it describes."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, kinds)]
    found = [(getattr(node, "name", path.stem), ast.get_docstring(node)) for node in nodes]
    return [(name, text.splitlines()[0]) for name, text in found if text]


def test_words_that_nobody_would_search_for_are_not_used() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: '{found.group()}'"
        for path in files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (found := PATTERN.search(line))
    ]
    assert wrong == [], f"say instead: {NOT_TO_BE_USED}"


@pytest.mark.parametrize("folder", ["src", "benchmarks"])
def test_first_line_of_a_docstring_fits_on_a_line(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} {name}: {len(line)} characters"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name, line in docstrings(path)
        if len(line) > MOST
    ]
    assert wrong == []
