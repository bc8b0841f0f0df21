"""What to label next."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest

import whatsit
from tests.command import whatsit as command_line
from tests.conftest import encode, shapes
from whatsit.errors import UsageError
from whatsit.run.record import Run, read_split, trained_on
from whatsit.runtime.predictor import Predictor


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """New shapes, a burst of twelve copies that no label was asked for, and a broken file."""
    folder = tmp_path_factory.mktemp("pool")
    for label in ("disc", "rows"):
        for number in range(12):
            (folder / f"{label}{number}.png").write_bytes(encode(shapes(label, 1000 + number)))
    for number in range(12):
        (folder / f"burst{number}.jpg").write_bytes(encode(shapes("disc", 5000), "JPEG", quality=60 + number))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n")
    return folder


def test_batch_has_no_two_pictures_of_one_burst(baseline_run: Run, pool: Path) -> None:
    found = whatsit.suggest(baseline_run.folder, [str(pool)], count=100)
    names = [Path(one.image).name for one in found.pictures]
    assert len(set(names)) == len(names)
    assert sum(name.startswith("burst") for name in names) <= 1
    assert (found.images, list(found.errors)) == (36, [str(pool / "broken.png")])
    [burst] = [one for one in found.pictures if any("burst" in name for name in (one.image, *one.alike))]
    assert sum("burst" in Path(name).name for name in (burst.image, *burst.alike)) == 12
    assert f"stands for {len(burst.alike)} look-alikes" in burst.why


def test_pictures_that_have_a_label_are_left_out(
    baseline_run: Run, pool: Path, shapes_folder: Path, tmp_path: Path
) -> None:
    shutil.copy(pool / "disc0.png", tmp_path / "another name.png")
    found = whatsit.suggest(baseline_run.folder, [str(pool), str(shapes_folder)], count=100, labelled=tmp_path)
    names = {one.image for one in found.pictures} | {name for one in found.pictures for name in one.alike}
    assert not any(name.startswith(str(shapes_folder)) for name in names)
    assert str(pool / "disc0.png") not in names
    assert found.labelled == 1 + sum(path.is_file() for path in shapes_folder.rglob("*.png"))
    with pytest.raises(UsageError, match="have a label already"):
        whatsit.suggest(baseline_run.folder, [str(shapes_folder)])


def test_without_a_run_folder_it_is_said_that_training_pictures_are_unknown(
    baseline_run: Run, pool: Path, tmp_path: Path
) -> None:
    model = tmp_path / "alone.whatsit"
    shutil.copy(baseline_run.model, model)
    done = command_line("suggest", model, pool, "-n", "3", "--json")
    assert "is not known without its run folder" in done.stderr
    document = json.loads(done.stdout)
    assert len(document["suggestions"]) == 3
    assert document["suggestions"][0].keys() >= {"image", "label", "probability", "unknown", "top", "why", "alike"}


def test_answers_are_those_of_predict(baseline_run: Run, pool: Path) -> None:
    first = whatsit.suggest(baseline_run.folder, [str(pool)], count=5)
    again = whatsit.suggest(baseline_run.folder, [str(pool)], count=5)  # from the cache
    assert [one.to_json() for one in again.pictures] == [one.to_json() for one in first.pictures]
    for one, prediction in zip(
        first.pictures, Predictor(baseline_run.model).predict([one.image for one in first.pictures]), strict=True
    ):
        assert one.prediction.label == prediction.label
        assert one.prediction.probability == pytest.approx(prediction.probability, abs=1e-4)


def test_table_and_copies(baseline_run: Run, pool: Path, tmp_path: Path) -> None:
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in pool.iterdir()}
    done = command_line(
        "suggest", baseline_run.folder, pool, "-n", "6", "--csv", tmp_path / "next.csv", "--copy-to", tmp_path / "next"
    )
    assert done.returncode == 0, done.stderr
    assert "Next:" in done.stdout
    with (tmp_path / "next.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    copies = [path for path in (tmp_path / "next").rglob("*") if path.suffix in (".png", ".jpg")]
    assert sorted(Path(row["image"]).name for row in rows) == sorted(path.name for path in copies)
    assert all(row["why"] for row in rows)
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in pool.iterdir()} == before


def test_wrong_use_is_refused(baseline_run: Run, pool: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1, received 0"):
        whatsit.suggest(baseline_run.folder, [str(pool)], count=0)
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        whatsit.suggest(baseline_run.folder, [str(pool)], table=tmp_path / "there.csv")
    assert (tmp_path / "there.csv").read_text() == "mine"
    with pytest.raises(UsageError, match="no unlabelled pictures"):
        whatsit.suggest(baseline_run.folder, [str(pool / "broken.png")])


def test_trained_on_is_known_of_run_folders_only(baseline_run: Run, tmp_path: Path) -> None:
    recorded = read_split(baseline_run.folder)
    known, every = trained_on(baseline_run.folder), trained_on(baseline_run.folder, tested=True)
    assert known is not None
    assert every is not None
    assert (len(known), len(every)) == (len(recorded) - int(recorded.where("test").sum()), len(recorded))
    shutil.copy(baseline_run.model, tmp_path / "alone.whatsit")
    assert trained_on(tmp_path / "alone.whatsit") is None
