from __future__ import annotations

import numpy as np
import pytest

from whatsit.images.pictures import Picture
from whatsit.images.sequences import find_sequences

RNG = np.random.default_rng(0)


def frames(sequences: int, length: int, *, alike: bool = True) -> np.ndarray:
    """Thumbnails of sequences: frames of one share a scene in other light, or share nothing."""
    scenes = (
        RNG.integers(0, 200, (sequences, 1, 16, 16)) if alike else RNG.integers(0, 200, (sequences, length, 16, 16))
    )
    light = RNG.uniform(0.5, 1.0, (sequences, length, 1, 1))
    noise = RNG.normal(0, 8, (sequences, length, 16, 16))
    return np.clip(scenes * light + noise, 0, 255).astype(np.uint8).reshape(-1, 16, 16)


def named(pattern: str, sequences: int = 5, length: int = 4, label: str = "stop") -> list[Picture]:
    return [
        Picture(f"train/{label}/" + pattern.format(s=s, f=f, n=s * length + f), label)
        for s in range(sequences)
        for f in range(length)
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        "{s:05d}_{f:05d}.ppm",
        "clip{s} frame{f:03d}.png",
        "person{s}_bacteria_{f}.jpeg",
        "IMG_202601{s:02d}_BURST{f:03d}.jpg",
    ],
)
def test_frames_of_one_sequence_are_one_group(pattern: str) -> None:
    found = find_sequences(named(pattern), frames(5, 4))
    assert found == [[4 * s + f for f in range(4)] for s in range(5)]


def test_names_alone_are_not_believed() -> None:
    assert find_sequences(named("{s:05d}_{f:05d}.ppm"), frames(5, 4, alike=False)) == []


@pytest.mark.parametrize("pattern", ["cat.{n}.jpg", "{n:04d}.png", "DSC_{n:04d}.JPG", "{n}_8e3f0a.jpg"])
def test_plain_numbering_is_no_sequence(pattern: str) -> None:
    assert find_sequences(named(pattern), frames(5, 4)) == []


def test_class_of_few_sequences_is_left_as_it_is() -> None:
    assert find_sequences(named("{s:05d}_{f:05d}.ppm", 3, 6), frames(3, 6)) == []


def test_same_names_in_two_classes_are_two_sequences() -> None:
    pictures = [*named("{s}_{f}.png", label="a"), *named("{s}_{f}.png", label="b")]
    assert len(find_sequences(pictures, np.concatenate([frames(5, 4), frames(5, 4)]))) == 10
