"""Sources as manifests: folders, archives, WebDataset tars, lists."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Listener, encode, shapes, tarred
from whatsit.errors import DataError, UsageError
from whatsit.images.locate import Reader
from whatsit.images.manifest import ImageRow, Manifest
from whatsit.images.manifest_data import list_manifest
from whatsit.images.places import open_place
from whatsit.images.scan import scan
from whatsit.verbs.shard import shard

PICTURE = encode(shapes("disc", 1))


def rows_of(source: str | Path, tmp_path: Path, rows: int = 2) -> list[ImageRow]:
    """The rows of a source, and a look whether each can be read."""
    place = tmp_path / "place"
    made = shard(source, place, rows=rows)
    manifest = Manifest(open_place(place))
    found = list(manifest.rows())
    assert (made.images, made.shards) == (len(found), len(manifest.counts)) == (len(manifest), -(-len(found) // rows))
    reader = Reader(manifest.root)
    assert all(reader.read(row) == PICTURE for row in found)
    return found


def folder_of(tmp_path: Path, names: list[str]) -> Path:
    for name in names:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)
    return tmp_path / "source"


def test_folder_has_its_classes_and_splits(tmp_path: Path) -> None:
    names = ["train/cat/1.png", "train/dog/1.png", "test/cat/2.png", "test/dog/notes.txt"]
    found = rows_of(folder_of(tmp_path, names), tmp_path)
    assert [(row.uri, row.label, row.split) for row in found] == [
        ("test/cat/2.png", "cat", "test"),
        ("train/cat/1.png", "cat", "train"),
        ("train/dog/1.png", "dog", "train"),
    ]
    assert all(row.size == len(PICTURE) for row in found)


def test_flat_folder_has_no_classes(tmp_path: Path) -> None:
    assert [row.label for row in rows_of(folder_of(tmp_path, ["b.png", "a.png"]), tmp_path)] == [None, None]


def test_zip_is_read_by_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pets.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("cat/1.png", "dog/2.png"):
            archive.writestr(name, PICTURE)
    found = rows_of(tmp_path / "pets.zip", tmp_path)
    assert [(row.name, row.label) for row in found] == [("pets.zip/cat/1.png", "cat"), ("pets.zip/dog/2.png", "dog")]


def test_tar_is_read_by_place(tmp_path: Path) -> None:
    found = rows_of(tarred(tmp_path / "pets.tar", {"cat/1.png": PICTURE, "dog/1.png": PICTURE}, "w"), tmp_path)
    assert [(row.member, row.label, row.size) for row in found] == [
        ("cat/1.png", "cat", len(PICTURE)),
        ("dog/1.png", "dog", len(PICTURE)),
    ]


def test_webdataset_tars_have_the_classes_beside_their_images(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    first = {"000.cls": b"7", "000.png": PICTURE, "001.png": PICTURE, "001.json": b'{"label": "owl"}'}
    tarred(folder / "shard-000.tar", first, "w")
    tarred(folder / "shard-001.tar", {"002.png": PICTURE, "002.txt": b"a caption"}, "w")
    found = rows_of(folder, tmp_path)
    assert [(row.name, row.label) for row in found] == [
        ("shard-000.tar/000.png", "7"),
        ("shard-000.tar/001.png", "owl"),
        ("shard-001.tar/002.png", None),
    ]


def csv_list(folder: Path) -> Path:
    path = folder / "list.csv"
    path.write_text("path,label,split,group\ncat/1.png,cat,train,a\nflat.png,dog,valid,\n", encoding="utf-8")
    return path


def parquet_list(folder: Path) -> Path:
    columns = {
        "path": ["cat/1.png", "flat.png"],
        "label": ["cat", "dog"],
        "split": ["train", "val"],
        "group": ["a", None],
    }
    pq.write_table(pa.table(columns), folder / "list.parquet")
    return folder / "list.parquet"


@pytest.mark.parametrize("make", [csv_list, parquet_list])
def test_lists_have_their_columns(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    folder = folder_of(tmp_path, ["cat/1.png", "flat.png"])
    assert [(row.uri, row.label, row.split, row.group) for row in rows_of(make(folder), tmp_path)] == [
        ("cat/1.png", "cat", "train", "a"),
        ("flat.png", "dog", "validation", None),
    ]


def test_text_list_may_name_files_anywhere(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["a.png", "b.png"])
    (tmp_path / "list.txt").write_text(f"# mine\n{folder}/a.png\nsource/b.png\n\n", encoding="utf-8")
    assert [row.name for row in rows_of(tmp_path / "list.txt", tmp_path)] == [f"{folder}/a.png", "source/b.png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "there is no such folder, archive or list"),
        ("a.tar.gz", "a compressed tar cannot be read in parts"),
        ("s3://bucket/a.zip", "make a plain .tar of it"),
        ("list.doc", "SOURCE must be a folder, a .zip or .tar, or a list"),
        ("empty", "no pictures found"),
        ("cut.tar", "the tar cannot be read"),
    ],
)
def test_unusable_sources_are_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.doc").touch()
    whole = tarred(tmp_path / "whole.tar", {"a.png": PICTURE, "b.png": PICTURE}, "w").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:700])
    source = name if "://" in name else str(tmp_path / name)
    with pytest.raises(DataError, match=message):
        shard(source, tmp_path / "place")
    assert not (tmp_path / "place").exists()


def test_parquet_list_without_addresses_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"file": ["a.png"]}), tmp_path / "list.parquet")
    with pytest.raises(DataError, match="none of the columns uri, path, url, name is there"):
        shard(tmp_path / "list.parquet", tmp_path / "place")


def test_manifest_is_not_replaced(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["a.png"])
    shard(folder, tmp_path / "place")
    with pytest.raises(UsageError, match=r"there is a manifest\.parquet already"):
        shard(folder, tmp_path / "place")


def test_other_parquet_file_is_no_manifest(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "manifest.parquet")
    with pytest.raises(DataError, match="this is no manifest of whatsit"):
        Manifest(open_place(tmp_path))


def test_empty_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="SOURCE is empty"):
        shard(" ", tmp_path)


def test_names_that_are_no_text_are_counted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["ก ข\n.png"])
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(PICTURE)
    except OSError:
        pytest.skip("this file system takes no such name")
    listener = Listener()
    place = tmp_path / "place"
    assert shard(folder, place, reporter=listener).images == 1
    assert listener.said == ["Skipped: 1 file whose names are not in UTF-8"]
    assert [row.uri for row in Manifest(open_place(place)).rows()] == ["ก ข\n.png"]


def test_manifest_with_other_columns_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["a.png"])
    shard(folder, tmp_path / "place")
    path = tmp_path / "place" / "manifest.parquet"
    about = pq.ParquetFile(path).metadata.metadata
    table = pq.read_table(path)
    table = table.set_column(table.column_names.index("size"), "size", pa.array(["many"]))
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(about)
    with pytest.raises(DataError, match="was changed since it was cut"):
        Manifest(open_place(tmp_path / "place"))


@pytest.mark.parametrize("address", ["https://me:pw@host/a.png", "s3://bucket/a.png?X-Amz-Signature=abc"])
def test_secrets_in_a_list_are_refused_and_not_repeated(tmp_path: Path, address: str) -> None:
    (tmp_path / "list.txt").write_text(address)
    with pytest.raises(DataError, match=r"row 1: an address must hold no user, password or query") as error:
        shard(tmp_path / "list.txt", tmp_path / "place")
    assert "pw" not in str(error.value)
    assert "abc" not in str(error.value)


def test_file_addresses_are_paths(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["a b.png"])
    (tmp_path / "list.txt").write_text(f"file://{folder}/a%20b.png")
    assert len(rows_of(tmp_path / "list.txt", tmp_path)) == 1
    shard(f"file://{folder}", f"file://{tmp_path}/other")
    with pytest.raises(UsageError, match="already"):
        shard(f"file://{folder}", f"file://{tmp_path}/other")


def test_foreign_manifest_among_pictures_does_not_matter(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["cat/a.png", "dog/b.png", "cat/c.png", "dog/d.png", "cat/e.png", "dog/f.png"])
    pq.write_table(pa.table({"a": [1]}), folder / "manifest.parquet")
    assert len(scan(folder).listed) == 6


def test_manifest_lies_outside_of_its_pictures(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["a.png"])
    with pytest.raises(UsageError, match="must lie outside of the pictures"):
        shard(folder, folder)


def test_labels_are_cleaned(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["a.png", "b.png"])
    (folder / "list.csv").write_text("path,label\na.png, cafe\u0301 \nb.png,  \n", encoding="utf-8")
    assert [row.label for row in rows_of(folder / "list.csv", tmp_path)] == ["caf\xe9", None]


def test_picture_with_two_labels_is_two_rows_to_train_on(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["a.png", "b.png"])
    (folder / "list.csv").write_text("path,label\na.png,cat\na.png,dog\nb.png,dog\nb.png,dog\n")
    shard(folder / "list.csv", tmp_path / "place")
    dataset = list_manifest(str(tmp_path / "place"))
    assert [(one.name, one.label) for one in dataset.pictures] == [
        ("a.png", "cat"),
        ("a.png (row 2)", "dog"),
        ("b.png", "dog"),
    ]
    assert all(dataset.read(one) == PICTURE for one in dataset.pictures)


@pytest.mark.parametrize("rows", [0, 10**20])
def test_size_of_a_shard_is_bounded(tmp_path: Path, rows: int) -> None:
    with pytest.raises(UsageError, match="must be 1 to 1,000,000"):
        shard(folder_of(tmp_path, ["a.png"]), tmp_path / "place", rows=rows)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([b"a.png"], "the column 'path' holds binary; it must hold text"),
        (["a.png", None], "'path' is empty in some row"),
    ],
)
def test_parquet_list_of_something_else_is_refused(tmp_path: Path, column: list[Any], message: str) -> None:
    pq.write_table(pa.table({"path": column}), tmp_path / "list.parquet")
    with pytest.raises(DataError, match=message):
        shard(tmp_path / "list.parquet", tmp_path / "place")


def test_parquet_list_may_have_categories_and_numbers_as_labels(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ["a.png"])
    path = pa.array(["a.png"]).dictionary_encode()
    pq.write_table(pa.table({"path": path, "label": [7]}), folder / "list.parquet")
    assert [(row.uri, row.label) for row in rows_of(folder / "list.parquet", tmp_path)] == [("a.png", "7")]


def test_text_list_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("ok.png\ncaf\xe9.png\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"list\.txt: line 2 is not in UTF-8"):
        shard(tmp_path / "list.txt", tmp_path / "place")


def test_folder_that_cannot_be_read_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, ["a.png", "closed/b.png"])
    plain = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    listener = Listener()
    assert shard(folder, tmp_path / "place", reporter=listener).images == 1
    assert listener.warned == ["closed was skipped: the folder cannot be read: Permission denied"]


def test_second_manifest_made_at_once_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, ["a.png"])
    monkeypatch.setattr("whatsit.verbs.shard.holds_manifest", lambda place: False)  # neither sees the other
    shard(folder, tmp_path / "place")
    with pytest.raises(UsageError, match=r"another process made a manifest\.parquet there meanwhile"):
        shard(folder, tmp_path / "place")
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["manifest.parquet"]
