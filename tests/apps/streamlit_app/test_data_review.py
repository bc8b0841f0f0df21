from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import encode, shapes
from whatsit.apps.streamlit_app.data_review import DataReview
from whatsit.errors import DataError, WhatsitError
from whatsit.events import SILENT
from whatsit.images.data import open_data
from whatsit.images.edits import key_of
from whatsit.images.names import plain


def explored(review: DataReview, *findings: dict[str, Any]) -> DataReview:
    """The review, after `explore` has found this."""
    review.folder.mkdir(parents=True)
    document = {"findings": findings, "notes": [], "fingerprint": review.dataset.fingerprint()}
    (review.folder / "explore.json").write_text(json.dumps(document))
    return review


@pytest.fixture
def review(
    make_folder: Callable[[dict[str, bytes]], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> DataReview:
    """Two classes of three, and a file that is empty; one picture is said to have the wrong label."""
    monkeypatch.chdir(tmp_path)
    files = {f"{label}/{i}.png": encode(shapes(label, i)) for label in ("disc", "rows") for i in range(3)}
    return explored(
        DataReview(make_folder({**files, "rows/9.png": b""})),
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


def test_findings_wait_until_they_are_decided(review: DataReview) -> None:
    assert list(review.findings().by_kind) == ["label", "unreadable", "dark"]
    [finding] = review.open_findings("label")
    assert (finding.suggested, finding.confidence) == ("rows", 0.9)
    review.decide([key_of(finding.pictures[0])], "label", "rows")
    assert review.open_findings("label") == []
    assert review.counts() == {"disc": 2, "rows": 4}
    assert [p.name for p in review.of("rows")] == ["disc/1.png", "rows/0.png", "rows/1.png", "rows/2.png"]


def test_training_reads_what_was_decided(review: DataReview) -> None:
    first, second = review.of("disc")[:2]
    review.decide([key_of(first)], "exclude")
    review.decide([key_of(second)], "label", "rows")
    assert {p.name: p.label for p in open_data(review.data, SILENT).pictures} == {
        "disc/1.png": "rows", "disc/2.png": "disc", "rows/0.png": "rows", "rows/1.png": "rows", "rows/2.png": "rows"
    }  # fmt: skip


def test_decisions_can_be_taken_back(review: DataReview) -> None:
    key = key_of(review.of("disc")[0])
    review.decide([key], "exclude")
    review.decide([key], "undo")
    assert review.decided == {}
    assert len(review.edits) == 2


def test_changed_data_are_told(review: DataReview) -> None:
    assert not review.findings().is_stale
    (Path(review.data) / "disc" / "9.png").write_bytes(encode(shapes("disc", 9)))
    assert DataReview(review.data).findings().is_stale


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"findings": [{"kind": "dark"}], "notes": []}'])
def test_damaged_findings_count_as_none(review: DataReview, text: str) -> None:
    (review.folder / "explore.json").write_text(text)
    assert review.findings() is None


def test_label_of_no_class_is_refused(review: DataReview) -> None:
    with pytest.raises(DataError, match="'cat' is none of the classes"):
        review.decide([key_of(review.of("disc")[0])], "label", "cat")


def test_what_explore_says_when_it_fails_is_told(review: DataReview) -> None:
    for path in Path(review.data).rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(WhatsitError, match="none of 7 pictures can be read"):
        review.explore()


def test_one_file_under_two_labels_stays_two_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(encode(shapes("disc", number)))
    (tmp_path / "labels.csv").write_text("path,label\n0.png,A\n0.png,B\n1.png,B\n2.png,C\n")
    review = DataReview(tmp_path / "labels.csv")
    review.decide([key_of(review.of("B")[0])], "label", "C")
    finding = {"kind": "conflicts", "images": ["0.png", "0.png"], "labels": ["A", "C"], "reason": "the same"}
    [finding] = explored(review, finding).findings().by_kind["conflicts"]
    assert [picture.label for picture in finding.pictures] == ["A", "B"]


def test_unreadable_file_that_has_left_the_data_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(tmp_path / "shapes.zip", "w") as archive:
        for name in ("disc/0.png", "rows/0.png"):
            archive.writestr(name, encode(shapes("disc", len(name))))
        archive.writestr("rows/1.png", b"")
    findings = [{"kind": "unreadable", "images": [f"rows/{i}.png"], "reason": "empty"} for i in range(1, 3)]
    review = explored(DataReview(tmp_path / "shapes.zip"), *findings)
    assert [finding.name for finding in review.open_findings("unreadable")] == ["rows/1.png"]


def test_names_that_are_not_unicode_can_be_shown() -> None:
    assert plain("ok \udcb0") == "ok \ufffd"
