from __future__ import annotations

import numpy as np

from whatsit.runtime.explain import GRAD_CAM, OCCLUSION, Explanation
from whatsit.runtime.occlusion import BATCH, CELLS, occlusion_maps
from whatsit.runtime.overlay import HIDDEN, draw
from whatsit.runtime.predictor import Prediction

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 33, 40, 3), dtype=np.uint8)


def corner(pixels: np.ndarray) -> np.ndarray:
    """Logits of a network that looks at the upper left quarter only: how much it varies speaks for class 1."""
    varied = pixels[:, :16, :20].astype(np.float64).std(axis=(1, 2, 3))
    return np.stack([0 * varied, varied, 0 * varied], axis=1).astype(np.float32)


def test_evidence_lies_where_the_network_looks() -> None:
    maps = occlusion_maps(corner, PIXELS, [1, 1])
    assert maps.shape == (2, CELLS, CELLS)
    inside = maps[:, : CELLS // 2, : CELLS // 2].sum(axis=(1, 2))
    # A patch is two cells wide, so cells just outside are covered together with cells inside.
    assert (inside > 0.6 * maps.sum(axis=(1, 2))).all()
    assert maps[:, CELLS // 2 + 1 :, CELLS // 2 + 1 :].max() == 0


def test_no_evidence_for_a_class_that_gains_by_every_patch() -> None:
    assert occlusion_maps(corner, PIXELS, [0, 2]).max() == 0


def test_log_odds_fall_where_a_probability_of_one_does_not() -> None:
    maps = occlusion_maps(lambda pixels: 1000 + 10 * corner(pixels), PIXELS, [1, 1])
    assert maps.max() > 0


def test_few_pictures_at_once() -> None:
    sizes: list[int] = []

    def logits(pixels: np.ndarray) -> np.ndarray:
        sizes.append(len(pixels))
        return corner(pixels)

    occlusion_maps(logits, PIXELS[:1], [1])
    assert max(sizes) <= BATCH
    assert sum(sizes) == (CELLS - 1) ** 2 + 1  # the picture itself, and each patch that is hidden


def test_drawing_says_how_it_was_found_in_both_languages() -> None:
    prediction = Prediction("dog", 0.9, False, (("dog", 0.9),))
    evidence = np.ones((CELLS, CELLS), np.float32)
    sheets = [
        draw(np.zeros((64, 64, 3), np.uint8), Explanation(prediction, "dog", 0.9, evidence, method))
        for method in (GRAD_CAM, OCCLUSION)
    ]
    line = [np.asarray(sheet.crop((24, 80, 600, 92))).min() for sheet in sheets]  # below the note that both have
    assert line[1] < 128 < line[0]
    assert "hidden" in HIDDEN
    assert "ปิดภาพทีละส่วน" in HIDDEN
