"""A manifest as data to train on, by this process and by workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import CLASSES, encode, shapes
from whatsit.errors import DataError, UsageError
from whatsit.events import SILENT
from whatsit.images.data import open_data
from whatsit.run.record import splits_of
from whatsit.scale.workers import hire
from whatsit.verbs.shard import shard
from whatsit.verbs.train import train

QUICK = {"size": 32, "epochs": 4}


def test_run_by_workers_is_that_of_this_process(images: Path, manifest: Path, tmp_path: Path) -> None:
    wanted = train(images, settings=QUICK, out=tmp_path / "alone", report=False)
    run = train(manifest, settings=QUICK, out=tmp_path / "shards", report=False, workers=2)
    assert splits_of(run.folder) == splits_of(wanted.folder)
    assert run.test.loss == pytest.approx(wanted.test.loss, abs=0.02)  # features differ in their last bits


def test_what_workers_cannot_read_is_left_out_with_its_reason(manifest: Path) -> None:
    dataset = open_data(manifest, SILENT, hire(None, 1))
    [(name, _)] = dataset.unreadable
    assert name == "disc/broken.png"
    assert len(dataset.pictures) == 60
    assert {*dataset.pictures.names()} < {*open_data(manifest, SILENT).pictures.names()}


def test_workers_need_a_manifest(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="workers need a manifest; make one with: whatsit shard"):
        train(images, out=tmp_path / "run", workers=2)


def test_manifest_without_classes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for number, kind in enumerate(CLASSES):
        (tmp_path / "pictures" / f"{number}.png").write_bytes(encode(shapes(kind, number)))
    shard(tmp_path / "pictures", tmp_path / "place")
    with pytest.raises(DataError, match="3 of 3 pictures have no class"):
        train(tmp_path / "place", out=tmp_path / "run")
