"""What `whatsit explore` finds among problems that were planted."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

import whatsit
from tests import command
from tests.conftest import data_of, encode, shapes, write_files
from tests.drawn import photos
from whatsit.errors import DataError, UsageError
from whatsit.evaluation.exploration import Exploration
from whatsit.verbs.explore import explore

EACH = 20  # of each problem


def save(image: Image.Image, quality: int = 88) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def spoiled(image: Image.Image, kind: str, rng: np.random.Generator) -> bytes:
    """The file of a picture with a problem of that kind."""
    width, height = image.size
    if kind == "cut":
        left, top = int(rng.uniform(0, 0.15) * width), int(rng.uniform(0, 0.15) * height)
        return save(image.crop((left, top, left + int(0.85 * width), top + int(0.85 * height))))
    if kind == "resized":
        return save(image.resize((width * 2 // 3, height * 2 // 3)))
    if kind == "unreadable":
        return save(image)[:400]
    if kind == "dark":
        return save(image.point(lambda value: value * 0.1))
    if kind == "blurred":
        return save(image.filter(ImageFilter.GaussianBlur(7)))
    return save(image, 35 if kind == "again" else 88)


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, set[str]]]:
    """A data set, and the names of the planted pictures by kind."""
    folder = tmp_path_factory.mktemp("data") / "fruit"
    good = {name: Image.open(io.BytesIO(data)).convert("RGB") for name, data in photos(60).items()}
    wanted: dict[str, set[str]] = {}
    files = {name: save(image) for name, image in good.items()}
    rng = np.random.default_rng(0)
    names = iter(sorted(good, key=lambda name: name[::-1]))
    for number in range(EACH):
        for kind in ("duplicates", "cut", "resized", "again"):  # beside the picture that they are copies of
            copied = next(names)
            name = f"{copied.split('/')[0]}/{kind}{number:02d}.jpg"
            files[name] = spoiled(good[copied], kind, rng)
            wanted.setdefault(kind, set()).add(name)
        for kind in ("unreadable", "dark", "blurred"):  # instead of it
            name = next(names)
            files[name] = spoiled(good.pop(name), kind, rng)
            wanted.setdefault(kind, set()).add(name)
    labels = sorted({name.split("/")[0] for name in good})
    for number, name in enumerate(sorted(good)[:: len(good) // EACH][:EACH]):
        label = name.split("/")[0]
        other = f"{labels[(labels.index(label) + 1) % len(labels)]}/wrong{number:02d}.jpg"
        files[other] = files.pop(name)
        wanted.setdefault("label", set()).add(other)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder, wanted


@pytest.fixture(scope="module")
def found(
    problems: tuple[Path, dict[str, set[str]]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Exploration, Path]:
    return explore(problems[0], out=tmp_path_factory.mktemp("out"))


@pytest.mark.parametrize("kind", ["duplicates", "near", "label", "unreadable", "dark", "blurred"])
def test_planted_problems_are_found(
    kind: str, problems: tuple[Path, dict[str, set[str]]], found: tuple[Exploration, Path]
) -> None:
    wanted = problems[1].get(kind, set())
    if kind == "near":
        wanted = problems[1]["cut"] | problems[1]["resized"] | problems[1]["again"]
    findings = found[0].of(kind)
    hit = {name for finding in findings for name in finding.images} & wanted
    right = sum(bool(wanted & set(finding.images)) for finding in findings)
    assert len(hit) >= 0.9 * len(wanted)
    assert right >= 0.8 * len(findings)


def test_page_and_json_are_written(found: tuple[Exploration, Path]) -> None:
    page = (found[1] / "explore.html").read_text(encoding="utf-8")
    assert "Labels that are likely wrong" in page
    assert "http" not in page.split("<body>")[1]
    document = json.loads((found[1] / "explore.json").read_text(encoding="utf-8"))
    assert document["pictures"] == found[0].total
    assert len(document["findings"]) == len(found[0].findings)


def test_bad_files_are_moved_aside_and_put_back(problems: tuple[Path, dict[str, set[str]]], tmp_path: Path) -> None:
    from whatsit.verbs.explore import undo

    folder, wanted = problems
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.jpg")}
    found, _ = explore(folder, out=tmp_path, quarantine=True, kinds=["unreadable"])
    assert {one.name for one in found.moved} == wanted["unreadable"]
    assert f"{len(wanted['unreadable'])} files were moved aside" in (tmp_path / "explore.html").read_text(
        encoding="utf-8"
    )
    assert not any((folder / name).exists() for name in wanted["unreadable"])
    undo(folder)
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.jpg")} == before


def test_names_are_harmless_in_the_page(hostile_run: object, tmp_path: Path) -> None:
    _, folder = whatsit.explore(data_of(hostile_run), out=tmp_path)
    assert "<script>alert" not in (folder / "explore.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"words"])
def test_data_of_which_nothing_can_be_read_is_told(tmp_path: Path, content: bytes) -> None:
    for name in ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
    with pytest.raises(DataError, match=r"none of 3 pictures can be read, such as cat/1\.jpg"):
        explore(tmp_path / "data", out=tmp_path / "out")


def test_archive_is_not_looked_through_where_its_files_are_to_be_moved(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(b"")
    with pytest.raises(UsageError, match="only files in a folder can be moved aside"):
        explore(tmp_path / "data.zip", quarantine=True)


def test_unreadable_files_are_counted_apart_and_the_count_is_said_once(tmp_path: Path) -> None:
    good = {f"{label}/{i}.png": encode(shapes(label, i)) for label in ("disc", "rows") for i in range(4)}
    write_files(tmp_path / "data", {**good, "disc/cut.png": good["disc/0.png"][:60]})
    done = command.whatsit("explore", tmp_path / "data", "--out", tmp_path / "out")
    said = "9 files, of which 1 cannot be read: 8 pictures in 2 classes, 4 in each"
    assert done.stdout.splitlines()[0] == said
    assert "pictures in 2 classes" not in done.stderr
    document = json.loads((tmp_path / "out" / "explore.json").read_text(encoding="utf-8"))
    assert (document["pictures"], document["classes"]) == (8, {"disc": 4, "rows": 4})


def test_unknown_kind_is_told(problems: tuple[Path, dict[str, set[str]]]) -> None:
    with pytest.raises(UsageError, match="unknown kind 'drak'"):
        explore(problems[0], quarantine=True, kinds=["drak"])
