from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import encode, shapes
from whatsit.apps.streamlit_app.desk import Desk
from whatsit.errors import DataError, WhatsitError
from whatsit.evaluation.wording import plain
from whatsit.images.edits import key_of
from whatsit.progress import SILENT
from whatsit.verbs.data import open_data


def explored(desk: Desk, *findings: dict[str, Any]) -> Desk:
    """The desk, after `explore` has found this."""
    desk.folder.mkdir(parents=True)
    document = {"findings": findings, "notes": [], "fingerprint": desk.dataset.fingerprint()}
    (desk.folder / "explore.json").write_text(json.dumps(document))
    return desk


@pytest.fixture
def desk(make_folder: Callable[[dict[str, bytes]], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Two classes of three, and a file that is empty; one picture is said to have the wrong label."""
    monkeypatch.chdir(tmp_path)
    files = {f"{label}/{i}.png": encode(shapes(label, i)) for label in ("disc", "rows") for i in range(3)}
    return explored(
        Desk(make_folder({**files, "rows/9.png": b""})),
        {"kind": "dark", "images": ["rows/0.png"], "labels": ["rows"], "reason": "dark"},
        {
            "kind": "label",
            "images": ["disc/1.png"],
            "labels": ["disc"],
            "reason": "x",
            "suggested": "rows",
            "confidence": 0.9,
        },
        {"kind": "unreadable", "images": ["rows/9.png"], "reason": "the file is empty (0 bytes)"},
    )


def test_findings_wait_until_they_are_decided(desk: Desk) -> None:
    assert list(desk.found().items) == ["label", "unreadable", "dark"]
    [item] = desk.open_items("label")
    assert (item.suggested, item.confidence) == ("rows", 0.9)
    desk.decide([key_of(item.pictures[0])], "label", "rows")
    assert desk.open_items("label") == []
    assert desk.counts() == {"disc": 2, "rows": 4}
    assert [p.name for p in desk.of("rows")] == ["disc/1.png", "rows/0.png", "rows/1.png", "rows/2.png"]


def test_training_reads_what_was_decided(desk: Desk) -> None:
    first, second = desk.of("disc")[:2]
    desk.decide([key_of(first)], "exclude")
    desk.decide([key_of(second)], "label", "rows")
    assert {p.name: p.label for p in open_data(desk.data, SILENT).pictures} == {
        "disc/1.png": "rows", "disc/2.png": "disc", "rows/0.png": "rows", "rows/1.png": "rows", "rows/2.png": "rows"
    }  # fmt: skip


def test_decisions_can_be_taken_back(desk: Desk) -> None:
    key = key_of(desk.of("disc")[0])
    desk.decide([key], "exclude")
    desk.decide([key], "undo")
    assert desk.decided() == {}
    assert len(desk.edits) == 2


def test_changed_data_are_told(desk: Desk) -> None:
    assert not desk.found().stale
    (Path(desk.data) / "disc" / "9.png").write_bytes(encode(shapes("disc", 9)))
    assert Desk(desk.data).found().stale


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"findings": [{"kind": "dark"}], "notes": []}'])
def test_damaged_findings_count_as_none(desk: Desk, text: str) -> None:
    (desk.folder / "explore.json").write_text(text)
    assert desk.found() is None


def test_label_of_no_class_is_refused(desk: Desk) -> None:
    with pytest.raises(DataError, match="'cat' is none of the classes"):
        desk.decide([key_of(desk.of("disc")[0])], "label", "cat")


def test_what_explore_says_when_it_fails_is_told(desk: Desk) -> None:
    for path in Path(desk.data).rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(WhatsitError, match="none of 7 pictures can be read"):
        desk.look()


def test_one_file_under_two_labels_stays_two_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(encode(shapes("disc", number)))
    (tmp_path / "labels.csv").write_text("path,label\n0.png,A\n0.png,B\n1.png,B\n2.png,C\n")
    desk = Desk(tmp_path / "labels.csv")
    desk.decide([key_of(desk.of("B")[0])], "label", "C")
    finding = {"kind": "conflicts", "images": ["0.png", "0.png"], "labels": ["A", "C"], "reason": "the same"}
    [item] = explored(desk, finding).found().items["conflicts"]
    assert [picture.label for picture in item.pictures] == ["A", "B"]


def test_unreadable_file_that_has_left_the_data_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(tmp_path / "shapes.zip", "w") as archive:
        for name in ("disc/0.png", "rows/0.png"):
            archive.writestr(name, encode(shapes("disc", len(name))))
        archive.writestr("rows/1.png", b"")
    findings = [{"kind": "unreadable", "images": [f"rows/{i}.png"], "reason": "empty"} for i in range(1, 3)]
    desk = explored(Desk(tmp_path / "shapes.zip"), *findings)
    assert [item.name for item in desk.open_items("unreadable")] == ["rows/1.png"]


def test_names_that_are_not_unicode_can_be_shown() -> None:
    assert plain("ok \udcb0") == "ok \ufffd"
