"""Write docs/figures.md, and the six figures of the READMEs, from what benchmarks measured: python docs/figures.py.

A benchmark keeps its figures with `--record benchmarks/results/NAME.json`. No figure is typed by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "figures.md"
READMES = {"en": ROOT / "README.md", "th": ROOT / "README.th.md"}
HEAD = """# Figures

Made by `python docs/figures.py` from `benchmarks/results/`, where the benchmarks themselves keep what they measured, with the
command, the day, the machine and the versions; do not edit. "Load" is how many processes wanted a processor in the five minutes
before the end: above the number of cores others were at work, and times are too long.

To measure on your machine: `python benchmarks/NAME.py ... --record FILE`. What is not here was not measured with a record.
"""
# Of the READMEs: the file, the figure in it, and what it is called there.
CHOSEN = (
    ("cats-dogs", "test accuracy", "1,399 photos of cats and dogs: test accuracy", "รูปแมวกับหมา 1,399 รูป: ตอบรูปทดสอบถูก"),
    (
        "kinds-of-data",
        "thai-digits: test",
        "Thai digits by hand, 10 classes: test accuracy",
        "เลขไทยลายมือ 10 ประเภท: ตอบรูปทดสอบถูก",
    ),
    ("stock-keras", "default: times", "times as fast as the stock Keras recipe", "เร็วกว่าสูตรมาตรฐานของ Keras (เท่า)"),
    ("one-picture", "predict([path])", "a picture, once the model is open", "ตอบหนึ่งรูปเมื่อเปิดโมเดลแล้ว"),
    ("unknown", "all of them: accepted", "strange pictures taken for a cat or a dog", "รูปแปลกที่หลงตอบว่าแมวหรือหมา"),
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
    found, rows = records(), []
    for name, what, english, thai in CHOSEN:
        if name in found:
            figure = next(one for one in found[name]["figures"] if what in one["what"])
            rows.append(f"| {thai if language == 'th' else english} | {_value(figure)} |\n")
    table = "| | |\n| --- | --- |\n" + "".join(rows)
    return re.sub(
        r"(<!-- figures -->\n).*?(<!-- end -->)", lambda marks: f"{marks[1]}{table}{marks[2]}", readme, flags=re.DOTALL
    )


def _section(record: dict[str, Any]) -> str:
    rows = [f"| {one['what']} | {_value(one)} | {_range(one)} | {one['note']} |\n" for one in record["figures"]]
    machine, versions = (
        record["machine"],
        ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
    )
    return (
        f"\n## {record['title']}\n\n| | | from, to | |\n| --- | --- | --- | --- |\n{''.join(rows)}\n"
        f"`{record['command']}`, {record['date']}; {machine['processor']}, {machine['cores']} cores, "
        f"{', '.join(machine['instructions'])}, load {machine['load']}; {versions}\n"
    )


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
