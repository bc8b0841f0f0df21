from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.drawn import photos
from whatsit.images import near, neighbours, stored_arrays
from whatsit.images.audit import faults, measure
from whatsit.images.matching import are_same, are_shifted, hold_cuts
from whatsit.images.near import near_duplicates, near_pairs, pairs_looked_for_once


def save(image: Image.Image, quality: int = 85) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def thumb(data: bytes) -> np.ndarray:
    return measure(data)[1]


def are_near(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return for each pair of thumbnails whether they are near-duplicates in any way."""
    return are_same(first, second) | are_shifted(first, second) | hold_cuts(first, second)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Drawn photos that are all different."""
    return [Image.open(io.BytesIO(data)).convert("RGB") for data in photos(6).values()]


def test_pictures_saved_again_or_resized_are_found_and_no_others(pictures: list[Image.Image]) -> None:
    again = [save(pictures[0], 30), save(pictures[1].resize((90, 70)))]
    found = near_duplicates(np.stack([thumb(data) for data in [*map(save, pictures), *again]]))
    assert found == [[0, len(pictures)], [1, len(pictures) + 1]]


def test_same_pictures_are_searched_once_and_warned_of_each_time(
    pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []

    def search(thumbs: np.ndarray, *, sides: list[int], warn: Callable[[str], None]) -> np.ndarray:
        searched.append(len(thumbs))
        warn("many")
        return near_pairs(thumbs, sides=sides)

    monkeypatch.setattr("whatsit.images.near.near_pairs", search)
    thumbs = np.stack([thumb(save(picture)) for picture in [*pictures, pictures[0]]])
    sides, said = [100] * len(thumbs), []
    first, again = (pairs_looked_for_once(thumbs, sides, said.append) for _ in range(2))
    assert first.tolist() == again.tolist() == near_pairs(thumbs, sides=sides).tolist() == [[0, len(pictures)]]
    assert (searched, said) == ([len(thumbs)], ["many", "many"])
    pairs_looked_for_once(thumbs[::-1], sides, said.append)
    assert pairs_looked_for_once(thumbs, [9, *sides[1:]], said.append).tolist() == []  # too small to tell
    assert len(searched) == 3


@pytest.mark.parametrize("share", [0.95, 0.9, 0.8, 0.7])
def test_cut_is_near(pictures: list[Image.Image], share: float) -> None:
    width, height = pictures[2].size
    cut = pictures[2].crop(
        (int(0.02 * width), int(0.02 * height), int((share + 0.02) * width), int((share + 0.02) * height))
    )
    assert are_near(thumb(save(pictures[2]))[None], thumb(save(cut))[None]).all()
    assert not are_near(thumb(save(pictures[3]))[None], thumb(save(cut))[None]).any()


def test_features_lead_to_cuts(pictures: list[Image.Image]) -> None:
    width, height = pictures[0].size
    files = [*map(save, pictures), save(pictures[0].crop((0, 0, int(0.8 * width), int(0.8 * height))))]
    features = np.random.default_rng(0).normal(size=(len(files), 16))
    features[-1] = features[0] + 0.1
    assert near_duplicates(np.stack([thumb(data) for data in files]), features) == [[0, len(files) - 1]]


def test_pictures_without_content_are_not_said_to_be_alike() -> None:
    assert near_duplicates(np.full((3, 32, 32), 7, np.uint8)) == []


def test_dark_bright_blurred_and_odd_pictures_are_found(pictures: list[Image.Image]) -> None:
    from PIL import ImageFilter

    files = [save(image) for image in pictures * 2]
    dark = save(pictures[0].point(lambda value: value * 0.12))
    bright = save(Image.new("RGB", (100, 100), (250, 250, 250)))
    blurred = save(pictures[1].filter(ImageFilter.GaussianBlur(6)))
    odd = save(pictures[2].crop((0, 0, pictures[2].width, pictures[2].height // 6)))
    tiny = save(pictures[3].resize((16, 12)))
    grey = save(pictures[4].convert("L"))
    found = faults(np.array([astuple(measure(data)[0]) for data in [*files, dark, bright, blurred, odd, tiny, grey]]))
    first = len(files)
    for place, kind in enumerate(("dark", "bright", "blurred", "odd", "tiny", "grey")):
        assert first + place in found[kind], kind
        assert all(number >= first for number in found[kind]), kind


def test_pixels_made_large_are_not_compared() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (2, 8, 8), np.uint8)
    thumbs = np.concatenate([small, small]).repeat(4, axis=1).repeat(4, axis=2)
    assert near_duplicates(thumbs) == []


def test_small_pictures_are_not_compared(pictures: list[Image.Image]) -> None:
    thumbs = np.stack([thumb(data) for data in [*map(save, pictures), save(pictures[0], 40)]])
    assert near_duplicates(thumbs, sides=[200] * len(thumbs)) == [[0, len(pictures)]]
    assert near_duplicates(thumbs, sides=[20] * len(thumbs)) == []


def frames(bursts: int, size: int, seed: int = 0) -> np.ndarray:
    """Thumbnails `[bursts * size, 32, 32]` of scenes that are all different, each seen `size` times with other noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(bursts, 8, 8)).repeat(4, axis=1).repeat(4, axis=2)
    scenes = 128 + 40 * coarse + 8 * rng.normal(size=(bursts, 32, 32))
    seen = scenes[:, None] + 2 * rng.normal(size=(bursts, size, 32, 32))
    return np.clip(seen, 0, 255).astype(np.uint8).reshape(-1, 32, 32)


def whole(bursts: int, size: int) -> list[list[int]]:
    return [list(range(start, start + size)) for start in range(0, bursts * size, size)]


def test_bursts_stay_whole_however_many_pairs_they_make() -> None:
    # 10,800 pairs; a limit of 8,000 in all once left some of these bursts in parts.
    assert near_duplicates(frames(240, 10)) == whole(240, 10)


def test_pairs_link_the_groups() -> None:
    pairs = near_pairs(frames(5, 4))
    assert pairs.dtype == np.int64
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert near_pairs(frames(1, 1)).shape == (0, 2)
    linked = {number: {number} for number in range(20)}
    for first, second in pairs.tolist():
        joined = linked[first] | linked[second]
        linked.update(dict.fromkeys(joined, joined))
    assert sorted({tuple(sorted(group)) for group in linked.values()}) == [tuple(group) for group in whole(5, 4)]


def test_chain_of_frames_is_one_group() -> None:
    rng = np.random.default_rng(0)
    ends = 128 + 40 * rng.normal(size=(2, 8, 8)).repeat(4, axis=1).repeat(4, axis=2) + 8 * rng.normal(size=(2, 32, 32))
    ends[1] += ends[0].mean() - ends[1].mean()
    steps = np.linspace(0, 1, 40)[:, None, None]
    chain = np.clip((1 - steps) * ends[0] + steps * ends[1], 0, 255).astype(np.uint8)
    assert not are_near(chain[:1], chain[-1:]).any()
    assert near_duplicates(np.concatenate([chain, frames(20, 1, seed=1)])) == [list(range(40))]


def test_flat_images_leave_the_others_to_be_found() -> None:
    rng = np.random.default_rng(0)
    flat = rng.integers(126, 130, (3000, 32, 32), np.uint8)
    assert near_duplicates(np.concatenate([flat, frames(3, 2)])) == [[3000, 3001], [3002, 3003], [3004, 3005]]


def test_many_copies_do_not_hide_what_else_is_near() -> None:
    first, second = frames(1, 2)
    thumbs = np.concatenate([first[None].repeat(100, axis=0), second[None].repeat(100, axis=0), frames(20, 1, seed=1)])
    assert near_duplicates(thumbs) == [list(range(200))]


def test_index_of_cells_finds_what_exact_search_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    thumbs = frames(60, 5)
    exact = near_duplicates(thumbs)
    monkeypatch.setattr(neighbours, "EXACT", 100)
    assert near_duplicates(thumbs) == exact == whole(60, 5)


def test_frame_that_moved_is_near(pictures: list[Image.Image]) -> None:
    width, height = pictures[0].size
    for number, picture in enumerate(pictures[:6]):
        moved = picture.crop((int(0.03 * width), int(0.03 * height), width, height))
        still = picture.crop((0, 0, int(0.97 * width), int(0.97 * height)))
        assert are_near(thumb(save(still))[None], thumb(save(moved))[None]).all(), number
        assert not are_near(thumb(save(pictures[number + 6]))[None], thumb(save(moved))[None]).any(), number


def test_what_was_not_compared_is_told() -> None:
    told: list[str] = []
    near_duplicates(frames(30, 10), warn=told.append)
    assert told == []
    assert near_duplicates(frames(1, 100), warn=told.append) == whole(1, 100)
    assert told == [
        "100 images have more near-duplicates than the nearest 64 of each, which were compared: "
        "a group of them may be found in several parts"
    ]


def test_parts_and_files_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    thumbs = frames(60, 5)
    monkeypatch.setattr(near, "_PART", 64)
    monkeypatch.setattr(stored_arrays, "IN_MEMORY", 0)
    monkeypatch.setenv("WHATSIT_CACHE", str(tmp_path))
    stored = stored_arrays.new_array(thumbs.shape, np.uint8)
    stored[:] = thumbs
    assert near_duplicates(stored) == near_duplicates(thumbs) == whole(60, 5)


def test_more_images_than_can_be_searched_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MOST", 10)
    monkeypatch.setattr(neighbours, "MOST_EXACT", 10)
    told: list[str] = []
    thumbs = np.concatenate([frames(3, 4), frames(3, 4)[:1]])
    assert near_pairs(thumbs, warn=told.append).tolist() == [[0, 12]]
    assert len(told) == 1
    assert told[0].startswith("12 images are too many to look for near-duplicates among them")
