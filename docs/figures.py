"""Write docs/figures.md, and the figures within READMEs and other pages, from what benchmarks measured: python docs/figures.py.

A benchmark keeps its figures with `--record benchmarks/results/NAME.json`. No figure is typed by hand. A page names those that it
shows in a comment, in its own language:

    <!-- figures of NAME
    Opening the page takes {opening the page} ({opening the page|low} to {opening the page|high}).
    -->
    <!-- end -->

Between the comment and `<!-- end -->` each line is written with its figures, or left out while one of them was not measured.
Lines without figures (heads of tables) stay with the others. `{@date}` and `{@processor}`, `{@cores}` are the record's, and
`{OTHER::what}` is a figure of another record.
"""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "figures.md"
READMES = {"en": ROOT / "README.md", "th": ROOT / "README.th.md"}
HEAD = """# Figures

Made by `python docs/figures.py` from `benchmarks/results/`, where the benchmarks themselves keep what they measured, with the
command, the day, the machine and the versions; do not edit. "Load" is how many processes wanted a processor in the five minutes
before the end. Times that were measured while others kept the machine busy (a load of more than twice its cores) are left out.

To measure on your machine: `python benchmarks/NAME.py ... --record FILE`. What is not here was not measured with a record.
"""
MARKED = re.compile(r"(<!-- figures of ([\w-]+)\n(.*?)\n-->\n).*?(<!-- end -->)", re.DOTALL)
TIMES = runpy.run_path(str(ROOT / "benchmarks" / "record.py"))["TIMES"]
# Of the READMEs: the file, the figure in it, and what it is called there.
CHOSEN = (
    ("cats-dogs", "test accuracy", "1,399 photos of cats and dogs: test accuracy", "รูปแมวกับหมา 1,399 รูป: ตอบรูปทดสอบถูก"),
    ("cats-dogs", "peak memory", "the same: memory at most", "ชุดเดียวกัน: ใช้หน่วยความจำไม่เกิน"),
    ("kinds-of-data", "flowers: test", "five kinds of flowers: test accuracy", "ดอกไม้ห้าชนิด: ตอบรูปทดสอบถูก"),
    ("kinds-of-data", "thai-digits: test", "Thai digits by hand: test accuracy", "เลขไทยลายมือ: ตอบรูปทดสอบถูก"),
    (
        "unknown",
        "all of them: accepted",
        "of 3,000 strange pictures, taken for a cat or a dog",
        "รูปแปลก 3,000 รูป ที่หลงตอบว่าแมวหรือหมา",
    ),
    ("web", "the folder", "the exported web page, model and all", "หน้าเว็บที่ส่งออก รวมโมเดล"),
)


def records() -> dict[str, dict[str, Any]]:
    """Return what was recorded, by the name of its file."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def page() -> str:
    """Return the page of all figures."""
    return HEAD + "".join(_section(record) for record in records().values())


def with_figures(readme: str, language: str) -> str:
    """Return a README with the chosen figures between its marks."""
    found = records()
    rows = [
        f"| {thai if language == 'th' else english} | {_value(figure)} |\n"
        for name, what, english, thai in CHOSEN
        for figure in (_shown(found[name]) if name in found else ())
        if what in figure["what"]
    ]
    table = "| | |\n| --- | --- |\n" + "".join(rows)
    return re.sub(
        r"(<!-- figures -->\n).*?(<!-- end -->)", lambda marks: f"{marks[1]}{table}{marks[2]}", readme, flags=re.DOTALL
    )


def marked_pages() -> list[Path]:
    """Return the pages with figures of records within their text."""
    found = (path for path in (ROOT / "docs").rglob("*.md") if MARKED.search(path.read_text(encoding="utf-8")))
    return sorted(found)


def filled(text: str, found: dict[str, dict[str, Any]]) -> str:
    """Return a page with the figures of records between its marks."""

    def fill(marks: re.Match[str]) -> str:
        start, name, template, end = marks.groups()
        lines = [_line(line, name, found) for line in template.splitlines()] if name in found else []
        kept = [line for line in lines if line is not None]
        written = any(
            line is not None and re.search(r"\{[^@]", was)
            for line, was in zip(lines, template.splitlines(), strict=False)
        )
        return "\n".join((start, *kept, "", end)) if written else start + end

    return MARKED.sub(fill, text)


def _line(template: str, name: str, found: dict[str, dict[str, Any]]) -> str | None:
    """A line with its figures, or nothing where one is missing."""
    record = found[name]
    about = {"@date": record["date"], **{f"@{key}": value for key, value in record["machine"].items()}}
    figures = {f"{other}::{one['what']}": one for other in found for one in _shown(found[other])}
    figures |= {one["what"]: one for one in _shown(record)}
    missing = []

    def value(asked: re.Match[str]) -> str:
        what, _, key = asked[1].partition("|")
        if what in about:
            return str(about[what])
        if what not in figures:
            missing.append(what)
            return ""
        return _number(figures[what][key]) if key else _value(figures[what])

    line = re.sub(r"\{([^{}]+)\}", value, template)
    return None if missing else line


def _section(record: dict[str, Any]) -> str:
    rows = [f"| {one['what']} | {_value(one)} | {_range(one)} | {one['note']} |\n" for one in _shown(record)]
    if not rows:
        return ""
    machine, versions = (
        record["machine"],
        ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
    )
    return (
        f"\n## {record['title']}\n\n| | | from, to | |\n| --- | --- | --- | --- |\n{''.join(rows)}\n"
        f"`{record['command']}`, {record['date']}; {machine['processor']}, {machine['cores']} cores, "
        f"{', '.join(machine['instructions'])}, load {machine['load']}; {versions}\n"
    )


def _shown(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The figures of a record, without times of a busy machine."""
    busy = record["machine"]["load"] > 2 * record["machine"]["cores"]
    return [one for one in record["figures"] if not (busy and one["unit"] in TIMES)]


def _value(figure: dict[str, Any]) -> str:
    return f"{_number(figure['value'])} {figure['unit']}".strip()


def _range(figure: dict[str, Any]) -> str:
    return "" if figure["low"] is None else f"{_number(figure['low'])}, {_number(figure['high'])}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    for language, path in READMES.items():
        path.write_text(with_figures(path.read_text(encoding="utf-8"), language), encoding="utf-8")
    for path in marked_pages():
        path.write_text(filled(path.read_text(encoding="utf-8"), records()), encoding="utf-8")
