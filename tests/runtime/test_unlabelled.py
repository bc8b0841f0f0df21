"""The batch that is picked from a pool."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import encode
from whatsit.runtime.unlabelled import MOST_UNKNOWN, Pool, pick


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Files of sixty pictures that are nothing like each other."""
    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    names = []
    for number in range(60):
        blocks = rng.integers(0, 256, (13, 13, 3), dtype=np.uint8)
        path = folder / f"{number}.png"
        path.write_bytes(encode(blocks.repeat(5, 0).repeat(5, 1)))
        names.append(str(path))
    return names


def pool_of(names: list[str], unknown: np.ndarray, seed: int = 0) -> Pool:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(len(names), 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Pool(names, rows.astype(np.float16), rng.random(len(names)).astype(np.float32), unknown)


def test_unsure_pictures_come_before_sure_ones(noise: list[str]) -> None:
    pool = pool_of(noise, np.zeros(60, bool))
    picked = [one.place for one in pick(pool, 4)]
    assert pool.doubts[picked].min() >= np.sort(pool.doubts)[-40]  # the ten-fold number of candidates
    assert len(set(picked)) == 4


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.1, 1, 2), (0.9, 0, 60)])
def test_unknown_pictures_get_their_share_but_at_most_a_quarter(
    noise: list[str], share: float, least: int, most: int
) -> None:
    unknown = np.arange(60) < 60 * share
    picked = [one.place for one in pick(pool_of(noise, unknown), 12)]
    count = int(unknown[picked].sum())
    known = int((~unknown).sum())
    assert least <= count <= most
    assert count <= max(MOST_UNKNOWN * 12, 12 - known)
    assert len(picked) == 12


def test_pool_smaller_than_the_batch_is_picked_whole(noise: list[str]) -> None:
    assert sorted(one.place for one in pick(pool_of(noise[:5], np.zeros(5, bool)), 50)) == [0, 1, 2, 3, 4]
    assert [one.place for one in pick(pool_of(noise[:1], np.zeros(1, bool)), 50)] == [0]


def test_burst_beyond_the_candidates_is_found_as_look_alikes(noise: list[str]) -> None:
    names = [*noise, *[noise[7]] * 5]
    pool = pool_of(names, np.zeros(65, bool))
    pool.rows[60:] = pool.rows[7]
    pool.doubts[:] = 0.01
    pool.doubts[7], pool.doubts[60:] = 1.0, 0.0  # where one picture is wanted, ten are candidates: not the copies
    [burst] = pick(pool, 1)
    assert (burst.place, sorted(burst.alike)) == (7, [60, 61, 62, 63, 64])
