"""Images, manifests of them, and answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import draw_shapes
from whatsit.run.record import Run
from whatsit.verbs.predict_shards import predict_shards
from whatsit.verbs.shard import shard


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images in class folders, one of them damaged."""
    folder = draw_shapes(tmp_path_factory.mktemp("images"), 60)
    (folder / "disc" / "broken.png").write_bytes(b"\x89PNG\r\n")
    return folder


@pytest.fixture(scope="session")
def manifest(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest's place: 61 images in 7 shards."""
    place = tmp_path_factory.mktemp("manifest")
    shard(images, place, rows=9)
    return place


@pytest.fixture(scope="session")
def undisturbed(baseline_run: Run, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers of one worker."""
    place = tmp_path_factory.mktemp("answers")
    predict_shards(baseline_run.folder, manifest, place, workers=1)
    return place


def contents(place: Path) -> dict[str, bytes]:
    """The parts in a place."""
    return {path.name: path.read_bytes() for path in sorted(place.glob("part-*"))}
