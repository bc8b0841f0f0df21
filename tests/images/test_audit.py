from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import encode, shapes
from whatsit.images import audit as module
from whatsit.images import stored_arrays
from whatsit.images.audit import Audit, audit, measure
from whatsit.images.scan import Dataset, scan

FILES = {f"{label}/{i:02d}.png": encode(shapes(label, i)) for label in ("disc", "rows") for i in range(6)}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Twelve images and two that cannot be read, measured five at a time."""
    monkeypatch.setenv("WHATSIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "SHARD", 5)
    for name, file in {**FILES, "disc/03x.png": b"text", "rows/05x.png": FILES["rows/05.png"][:-30]}.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    return scan(tmp_path / "data")


def is_right(done: Audit) -> bool:
    measured = [measure(file) for file in FILES.values()]
    return (
        [picture.name for picture in done.pictures] == [*FILES]
        and [done.measures(place) for place in range(len(FILES))] == [one for one, _ in measured]
        and np.array_equal(done.thumbs, [thumb for _, thumb in measured])
        and [name for name, _ in done.unreadable] == ["disc/03x.png", "rows/05x.png"]
    )


def test_every_readable_image_is_measured_in_order(data: Dataset) -> None:
    steps: list[tuple[int, int]] = []
    assert is_right(audit(data, lambda done, total: steps.append((done, total))))
    assert steps[-1] == (14, 14)
    assert steps == sorted(steps)
    assert is_right(audit(data))  # from the cache


def test_measures_in_a_file_are_those_in_memory(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_arrays, "IN_MEMORY", 0)
    done = audit(data)
    assert stored_arrays.is_stored(done.thumbs)
    assert is_right(done)
