"""The training pictures that look most like one."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

import whatsit
from whatsit.images.walk import LeftOut, pictures_below
from whatsit.run.nearest import NearestTraining
from whatsit.run.record import Run, read_split
from whatsit.runtime.predictor import Predictor


def made(model: Path) -> NearestTraining:
    found = NearestTraining(model, whatsit.load(model))
    assert found.wait(60)
    return found


def test_training_picture_is_nearest_to_itself_and_test_pictures_are_never_shown(
    baseline_run: Run, shapes_folder: Path
) -> None:
    near = made(baseline_run.folder)
    recorded = read_split(baseline_run.folder)
    train = {one.digest for one in recorded.take(recorded.where("train"))}
    assert near.progress == (len(train), len(train))
    for name in list(pictures_below(shapes_folder, LeftOut()))[::7]:
        data = (shapes_folder / name).read_bytes()
        found = near.nearest(data, 4)
        assert [one.similarity for one in found] == sorted((one.similarity for one in found), reverse=True)
        digests = [sha256(one.data).digest() for one in found]
        assert set(digests) <= train
        if sha256(data).digest() in train:
            assert (digests[0], found[0].label) == (sha256(data).digest(), name.split("/")[0])


def test_embeddings_are_kept_for_the_next_process(baseline_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made(baseline_run.folder)
    counted, run = [0], Predictor.embed_pixels

    def counting(self: Predictor, pixels: object) -> object:
        counted[0] += bool(pixels.any())  # type: ignore[attr-defined]
        return run(self, pixels)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "embed_pixels", counting)
    made(baseline_run.folder)
    assert counted == [0]


def test_nothing_is_shown_before_it_is_ready(baseline_run: Run, shapes_folder: Path) -> None:
    data = next((shapes_folder / "disc").glob("*.png")).read_bytes()
    assert NearestTraining(baseline_run.folder, whatsit.load(baseline_run.folder)).nearest(data) == []


def test_model_without_its_run_or_a_run_without_its_pictures_shows_none(
    baseline_run: Run, shapes_folder: Path, tmp_path: Path
) -> None:
    data = next((shapes_folder / "disc").glob("*.png")).read_bytes()
    lone = shutil.copy(baseline_run.model, tmp_path / "lone.whatsit")
    assert not NearestTraining(lone, whatsit.load(lone)).has_run
    folder = shutil.copytree(baseline_run.folder, tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, "data": str(tmp_path / "gone")}))
    near = made(folder)
    assert (near.has_run, near.is_gone, near.nearest(data)) == (True, True, [])
