"""What is written in the documentation is so: made pages are current, messages exist, translations go with their page."""

from __future__ import annotations

import ast
import json
import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import DOCS, ROOT, blocks, pages
from whatsit.apps.api.settings import MEGABYTE, Settings
from whatsit.images.decode import MAX_PIXELS


def script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(DOCS / f"{name}.py"))


@pytest.mark.parametrize("name", ["command_line", "http_routes", "recipe_keys", "figures"])
def test_made_page_is_current(name: str) -> None:
    made = script(name)
    assert made["PAGE"].read_text(encoding="utf-8") == made["page"](), f"run: python docs/{name}.py"


@pytest.mark.parametrize("language", ["en", "th"])
def test_figures_of_the_readme_are_those_measured(language: str) -> None:
    made = script("figures")
    text = made["READMES"][language].read_text(encoding="utf-8")
    assert text == made["with_figures"](text, language), "run: python docs/figures.py"


def test_figures_within_pages_are_those_measured() -> None:
    made = script("figures")
    pages = made["marked_pages"]()
    texts = {path: path.read_text(encoding="utf-8") for path in pages}
    assert pages
    assert [path.name for path in pages if texts[path] != made["filled"](texts[path], made["records"]())] == [], (
        "run: python docs/figures.py"
    )


RECORD = {
    "date": "2026-11-29",
    "machine": {"processor": "a processor", "cores": 2, "load": 0.5},
    "figures": [
        {"what": "the folder", "value": 12.61, "unit": "MB", "low": None, "high": None, "note": ""},
        {"what": "a picture", "value": 44.0, "unit": "ms", "low": 40.0, "high": 52.0, "note": ""},
    ],
}
MARKED = """Before.

<!-- figures of web
| | |
| --- | --- |
| folder | {the folder} |
| a picture, {@date} | {a picture} ({a picture|low} to {a picture|high}) |
-->
old
<!-- end -->

After.
"""


def lines_filled(records: dict[str, Any]) -> list[str]:
    text = script("figures")["filled"](MARKED, records)
    assert script("figures")["filled"](text, records) == text
    return [line for line in text.split("-->\n", 1)[1].splitlines() if line]


def test_a_page_shows_the_figures_that_it_names() -> None:
    assert lines_filled({"web": RECORD}) == [
        "| | |",
        "| --- | --- |",
        "| folder | 12.6 MB |",
        "| a picture, 2026-11-29 | 44.0 ms (40.0 to 52.0) |",
        "<!-- end -->",
        "After.",
    ]


def test_times_of_a_busy_machine_are_left_out_with_their_line() -> None:
    busy = {**RECORD, "machine": {**RECORD["machine"], "load": 9.0}}
    assert lines_filled({"web": busy})[2:] == ["| folder | 12.6 MB |", "<!-- end -->", "After."]


def test_without_a_record_nothing_is_shown() -> None:
    assert lines_filled({}) == ["<!-- end -->", "After."]


RUN_PAGES = [*pages(thai=False), *pages(thai=True)]


@pytest.mark.parametrize("page", RUN_PAGES, ids=lambda path: path.name)
def test_code_can_be_read(page: Path) -> None:
    """Also where it is not run."""
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.text)
        if block.language == "toml":
            tomllib.loads(block.text)
        if block.language == "json":
            json.loads(block.text)


@pytest.mark.parametrize("page", RUN_PAGES, ids=lambda path: path.name)
def test_commands_are_in_blocks_that_are_run(page: Path) -> None:
    hidden = [
        f"{page.name}:{block.line}: {block.text}"
        for block in blocks(page)
        if block.language in ("", "text", "bash", "shell")
        and re.search(r"^(\$ )?(whatsit|python) ", block.text, re.MULTILINE)
    ]
    assert hidden == [], "write ```sh, or ```console with the output"


def test_thai_pages_go_with_the_english_ones() -> None:
    assert script("site_hooks")["translation_faults"]() == []


def test_messages_are_those_of_the_source() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a text over several lines
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(.+?)` \|", page, re.MULTILINE)
    assert len(named) > 10
    assert [words for words in named if words not in source] == []


def test_limits_of_the_service_are_those_named() -> None:
    page = (DOCS / "how-to" / "service.md").read_text(encoding="utf-8")
    [line] = re.findall(r"^- \*\*Limits\*\*.*$", page, re.MULTILINE)
    limits = (Settings.max_pixels // 1_000_000, MAX_PIXELS // 1_000_000, Settings.max_body // MEGABYTE)
    assert tuple(map(int, re.findall(r"\d+", line))) == limits


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        assert "://" in link or (path.parent / link).exists(), link
