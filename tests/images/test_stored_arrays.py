from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whatsit.files import DiskError
from whatsit.images.stored_arrays import is_stored, keep_rows, new_array, pieces, put_rows, release, take_rows


def stored(tmp_path: Path, rows: int = 10_000) -> np.ndarray:
    array = new_array((rows, 3), np.float32, folder=tmp_path, in_memory=0)
    array[:] = np.arange(rows)[:, None]
    return array


def test_only_a_large_array_is_in_a_file(tmp_path: Path) -> None:
    assert not is_stored(new_array((10, 3), np.float32, folder=tmp_path, in_memory=120))
    assert is_stored(new_array((10, 3), np.float32, folder=tmp_path, in_memory=119)[2:, -1:])
    assert list(tmp_path.iterdir()) == []


def test_contents_stay_when_the_memory_goes(tmp_path: Path) -> None:
    array = stored(tmp_path)
    release(array[:, 1:])
    assert np.array_equal(array[:, 2], np.arange(10_000))
    assert np.array_equal(np.concatenate([*pieces(array[:, -1:], 999)])[:, 0], np.arange(10_000))


@pytest.mark.parametrize("in_file", [False, True])
def test_rows_move_to_the_start(tmp_path: Path, in_file: bool) -> None:
    array = stored(tmp_path) if in_file else np.array(stored(tmp_path))
    rows = np.delete(np.arange(10_000), [0, 4095, 4096, 9999])
    assert np.array_equal(keep_rows(array, rows)[:, 0], rows)


def test_place_that_cannot_be_written_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError):
        new_array((1, 1), np.uint8, folder=tmp_path / "file", in_memory=0)


@pytest.mark.parametrize("in_file", [False, True])
def test_rows_in_any_order_are_taken_and_set(tmp_path: Path, in_file: bool) -> None:
    array = stored(tmp_path) if in_file else np.array(stored(tmp_path))
    rows = np.random.default_rng(0).permutation(len(array))[:999]
    assert np.array_equal(take_rows(array[:, 1:], rows), np.repeat(rows[:, None], 2, axis=1))
    put_rows(array, rows, -take_rows(array, rows))
    assert np.array_equal(np.sort(array[:, 0])[:999], np.sort(-rows))
    assert take_rows(array, rows[:0]).shape == (0, 3)
