from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whatsit.errors import WhatsitError
from whatsit.images.scan import scan
from whatsit.training import batches
from whatsit.training.batches import decode_all


def decoded(folder: Path, into: Path) -> batches.DecodedPictures:
    dataset = scan(folder)
    return decode_all(dataset, dataset.pictures, (16, 24), into, lambda done, total: None)


def test_pictures_are_decoded_to_one_size(shapes_folder: Path, tmp_path: Path) -> None:
    found = decoded(shapes_folder, tmp_path)
    assert found.pixels.shape == (60, 16, 24, 3)
    assert len(found.pictures) == 60
    assert not found.failed


def test_too_many_for_memory_go_to_a_file_without_a_name(
    shapes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = decoded(shapes_folder, tmp_path).pixels
    monkeypatch.setattr(batches, "IN_MEMORY", 0)
    on_disk = decoded(shapes_folder, tmp_path).pixels
    assert np.array_equal(on_disk, in_memory)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_told_before_anything_is_written(
    shapes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batches, "IN_MEMORY", 0)
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(WhatsitError, match="the disk is full"):
        decoded(shapes_folder, tmp_path)
