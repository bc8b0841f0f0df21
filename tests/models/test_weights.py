from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from whatsit.errors import ModelError
from whatsit.models.weights import published_file, read_state_dict


def test_published_weights_are_read_as_arrays() -> None:
    weights = read_state_dict(published_file("efficientnet-lite0"))
    assert weights["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert weights["_fc.weight"].shape == (1000, 1280)
    assert all(np.isfinite(array).all() for array in weights.values())
    assert (weights["_bn0.running_var"] >= 0).all()


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code of the file was run')",)


@pytest.mark.parametrize("place", range(5))
def test_code_in_a_file_is_never_run(tmp_path: Path, place: int) -> None:
    parts: list[object] = [0x1950A86A20F9469CFC6C, 1001, {}, {}, []]
    parts[place] = _Evil()
    (tmp_path / "evil.pth").write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    with pytest.raises(ModelError, match=r"it asks for .*exec"):
        read_state_dict(tmp_path / "evil.pth")


@pytest.mark.parametrize("keep", [0, 10, 100, 40_000, 1_000_000])
def test_file_that_is_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    (tmp_path / "cut.pth").write_bytes(published_file("efficientnet-lite0").read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"cut\.pth: these weights cannot be read"):
        read_state_dict(tmp_path / "cut.pth")


@pytest.mark.parametrize("count", [2**60, 2**63])
def test_file_that_promises_more_than_it_has_is_refused(tmp_path: Path, count: int) -> None:
    data = published_file("efficientnet-lite0").read_bytes()
    file = io.BytesIO(data)
    for _ in range(5):
        list(pickletools.genops(file))
    start = file.tell()
    (tmp_path / "long.pth").write_bytes(data[:start] + count.to_bytes(8, "little") + data[start + 8 :])
    with pytest.raises(ModelError, match=r"long\.pth: these weights cannot be read"):
        read_state_dict(tmp_path / "long.pth")
