"""A sample of `odd_files`: what is said of each file, by every verb alike. `make odd` takes all formats, as processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import whatsit
from tests.images import odd_files
from whatsit.images.formats import EXTENSIONS
from whatsit.run.record import Run

KINDS = odd_files.formats()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_of_a_file_is_true(kind: str) -> None:
    for name, data in odd_files.odd_forms(kind, *KINDS[kind]).items():
        odd_files.truth(name, data)


def test_formats_that_turn_and_grow_are_among_them() -> None:
    """Else nothing would be tested."""
    forms = {kind: odd_files.odd_forms(kind, *KINDS[kind]) for kind in ("JPEG", "PNG", "TIFF", "WEBP")}
    for kind, files in forms.items():
        assert [name for name in files if "turned" in name], kind
        [(name, data)] = [(name, data) for name, data in files.items() if "huge" in name]
        assert "pixels; at most" in str(odd_files.truth(name, data)), kind


def test_explore_and_predict_say_the_same_of_every_file(baseline_run: Run, tmp_path: Path) -> None:
    told = odd_files.write(tmp_path / "data", ["JPEG", "PNG", "TIFF", "PCX", "XBM"])
    names = sorted(told)
    answers = [json.loads(line) for line in whatsit(
        "predict", baseline_run.folder, *(tmp_path / "data" / name for name in names), "--json"
    ).stdout.splitlines()]  # fmt: skip
    assert [one.get("error") for one in answers] == [told[name] for name in names]
    listed = [name for name in names if Path(name).suffix in EXTENSIONS]
    explored = whatsit("explore", tmp_path / "data", "--out", tmp_path / "out")
    assert explored.returncode == 0
    found = json.loads((tmp_path / "out" / "explore.json").read_text(encoding="utf-8"))["findings"]
    unreadable = {one["images"][0] for one in found if one["kind"] == "unreadable"}
    assert unreadable == {name for name in listed if told[name] is not None}
