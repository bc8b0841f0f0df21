"""Skipped files, in both languages."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import encode, shapes
from whatsit.apps.streamlit_app.skipped_files import describe, problem
from whatsit.apps.texts import Texts
from whatsit.images.collection import Collection
from whatsit.images.walk import DANGLING, UNREADABLE


@pytest.mark.parametrize(
    ("kind", "count", "english", "thai"),
    [
        (".txt files", 3, "3 .txt files", "ไฟล์ .txt 3 ไฟล์"),
        (
            ".psd files",
            1,
            "1 .psd file (save as JPEG or PNG with the painting program)",
            "ไฟล์ .psd 1 ไฟล์ (บันทึกเป็น JPEG หรือ PNG ก่อน)",
        ),
        ("links in the archive", 2, "2 links in the archive", "ลิงก์ในไฟล์บีบอัด 2 ลิงก์"),
        ("hidden folders", 2, "2 hidden folders", "โฟลเดอร์ที่ซ่อนอยู่ 2 โฟลเดอร์"),
        ("hidden files", 1, "1 hidden file", "ไฟล์ที่ซ่อนอยู่ 1 ไฟล์"),
        ("@eaDir folders", 1, "1 @eaDir folder", "โฟลเดอร์ @eaDir 1 โฟลเดอร์"),
        ("Thumbs.db files", 2, "2 Thumbs.db files", "ไฟล์ Thumbs.db 2 ไฟล์"),
        ("files without an ending", 1, "1 file without an ending", "ไฟล์ที่ไม่มีนามสกุล 1 ไฟล์"),
    ],
)
def test_each_kind_is_named(kind: str, count: int, english: str, thai: str) -> None:
    assert describe(Counter({kind: count}), Texts("en")) == english
    assert describe(Counter({kind: count}), Texts("th")) == thai


def test_many_kinds_end_in_a_number() -> None:
    kinds = Counter({f".{letter} files": 2 for letter in "abcdefgh"})
    assert describe(kinds, Texts("th")).endswith("อื่น ๆ 4 รายการ")


def test_collection_knows_what_it_leaves_out(tmp_path: Path) -> None:
    collection = Collection(tmp_path)
    collection.add("disc", encode(shapes("disc", 1)))
    collection.let_wait(encode(shapes("disc", 2)), "disc", 0.4, False)
    assert collection.left_out().kinds == {}  # its own hidden folder does not count
    (tmp_path / "disc" / "notes.txt").write_text("words")
    (tmp_path / "disc" / "@eaDir").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "disc" / "gone").symlink_to(tmp_path / "nowhere")
    found = collection.left_out()
    assert found.kinds == {".txt files": 1, "@eaDir folders": 1, "hidden folders": 1}
    assert found.sentences() == ["disc/gone was skipped: the link leads to nothing, its target is missing"]


def test_reasons_of_ours_are_said_in_thai() -> None:
    assert problem("a/b", DANGLING, Texts("th")) == "a/b: ลิงก์นี้ไม่มีไฟล์ปลายทาง"
    assert problem("a", f"{UNREADABLE}: no permission", Texts("th")) == "a: อ่านโฟลเดอร์นี้ไม่ได้: no permission"
    assert problem("a", "it is odd", Texts("th")) == "a: it is odd"
