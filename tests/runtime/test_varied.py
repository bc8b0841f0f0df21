"""The choice of a batch that is both unsure and varied."""

from __future__ import annotations

import numpy as np
import pytest

from whatsit.runtime.varied import choose, doubts


def clusters(count: int, each: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, 16))
    rows = np.repeat(centres, each, axis=0) + rng.normal(0, 0.01, (count * each, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def test_doubt_is_one_minus_the_margin_of_the_best_two() -> None:
    found = doubts(np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]], np.float16))
    assert found == pytest.approx([0.8, 0.0, 1.0], abs=1e-3)


def test_each_cluster_gives_one_picture() -> None:
    rows = clusters(8, 30)
    found = choose(rows, np.ones(len(rows)), 8)
    assert sorted((found // 30).tolist()) == list(range(8))
    assert choose(rows, np.ones(len(rows)), 8).tolist() == found.tolist()


def test_heavy_cluster_comes_first() -> None:
    rows = clusters(4, 30)
    weights = np.where(np.arange(len(rows)) // 30 == 2, 1.0, 0.1)
    assert choose(rows, weights, 4)[0] // 30 == 2


def test_copies_and_small_pools_still_give_different_pictures() -> None:
    same = np.ones((20, 4), np.float16) / 2
    assert len(set(choose(same, np.zeros(20), 6).tolist())) == 6
    assert choose(same[:3], np.array([0.1, 0.9, 0.5]), 6).tolist() == [1, 2, 0]
