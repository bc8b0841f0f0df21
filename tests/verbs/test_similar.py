"""Pictures that look like one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import whatsit
from tests.command import whatsit as command_line
from whatsit.errors import ImageError, UsageError
from whatsit.run.record import Run
from whatsit.runtime.predictor import Predictor


def test_same_picture_under_another_name_is_found_first(baseline_run: Run, shapes_folder: Path, tmp_path: Path) -> None:
    picture = next((shapes_folder / "disc").glob("*.png"))
    (tmp_path / "copy.png").write_bytes(picture.read_bytes())
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    found = whatsit.similar(baseline_run.folder, picture, [str(shapes_folder), str(tmp_path)], count=4)
    assert (found[0].image, found[0].similarity) == (str(tmp_path / "copy.png"), pytest.approx(1, abs=1e-3))
    assert len(found) == 4
    assert str(picture) not in {one.image for one in found}


def test_link_that_leads_to_itself_is_no_picture(baseline_run: Run, shapes_folder: Path, tmp_path: Path) -> None:
    pictures = sorted((shapes_folder / "disc").glob("*.png"))[:2]
    (tmp_path / "loop.png").symlink_to("loop.png")
    found = whatsit.similar(baseline_run.folder, pictures[0], [str(pictures[1]), str(tmp_path)])
    assert [one.image for one in found] == [str(pictures[1])]
    done = command_line("train", str(shapes_folder), "--out", str(tmp_path / "loop.png"))
    assert (done.returncode, "this link leads back to itself" in done.stderr, done.stderr.count("\n")) == (1, True, 1)


def test_second_search_runs_the_network_on_nothing_but_the_picture(
    baseline_run: Run, shapes_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = next((shapes_folder / "disc").glob("*.png"))
    first = whatsit.similar(baseline_run.folder, picture, [str(shapes_folder)])
    count, run = [0], Predictor.embed_pixels

    def counting(self: Predictor, pixels: np.ndarray) -> np.ndarray:
        count[0] += bool(pixels.any())
        return run(self, pixels)

    monkeypatch.setattr(Predictor, "embed_pixels", counting)
    assert whatsit.similar(baseline_run.folder, picture, [str(shapes_folder)]) == first
    assert count == [1]


def test_embeddings_are_of_length_one(baseline_run: Run, shapes_folder: Path) -> None:
    rows = whatsit.load(baseline_run.folder).embed(sorted((shapes_folder / "disc").glob("*.png"))[:3])
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)


def test_wrong_use_is_refused(baseline_run: Run, shapes_folder: Path, tmp_path: Path) -> None:
    picture = next((shapes_folder / "disc").glob("*.png"))
    with pytest.raises(UsageError, match="no other pictures"):
        whatsit.similar(baseline_run.folder, picture, [str(picture)])
    with pytest.raises(ImageError, match=r"none\.png"):
        whatsit.similar(baseline_run.folder, tmp_path / "none.png", [str(shapes_folder)])
    done = command_line("similar", baseline_run.folder, picture, shapes_folder, "-n", "2")
    assert (done.returncode, len(done.stdout.partition("\n\n")[0].splitlines())) == (0, 3)  # header and two pictures
