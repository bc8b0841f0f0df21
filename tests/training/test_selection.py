from __future__ import annotations

import numpy as np
import pytest

from whatsit.training.selection import fit_votes

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 400)


def member(skill: float, seed: int) -> np.ndarray:
    """Logits that know the label as well as `skill` says."""
    return skill * np.eye(3)[LABELS] + np.random.default_rng(seed).normal(0, 1, (400, 3))


def test_equally_good_members_share_the_votes() -> None:
    votes = fit_votes([member(1.5, 1), member(1.5, 2)], LABELS)
    assert sum(votes.weights) == pytest.approx(1.0)
    assert min(votes.weights) > 0.35


def test_a_member_that_knows_nothing_has_no_vote() -> None:
    votes = fit_votes([member(2.0, 1), np.random.default_rng(5).normal(0, 3, (400, 3))], LABELS)
    assert votes.weights[1] < 0.1
    assert fit_votes([member(2.0, 1), -5.0 * np.eye(3)[LABELS]], LABELS).weights == (1.0, 0.0)


def test_the_mean_of_timid_members_is_sharpened() -> None:
    timid = [member(1.5, seed) for seed in range(6)]
    votes = fit_votes(timid, LABELS)
    assert votes.sharpness > 1.2


def test_the_loss_is_no_worse_than_that_of_the_best_member() -> None:
    members = [member(skill, seed) for seed, skill in enumerate((0.5, 1.0, 2.0))]

    def loss(probabilities: np.ndarray) -> float:
        return -np.log(probabilities[np.arange(400), LABELS]).mean()

    def softmax(logits: np.ndarray) -> np.ndarray:
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    votes = fit_votes(members, LABELS)
    mixed = sum(w * softmax(votes.sharpness * one) for w, one in zip(votes.weights, members, strict=True))
    assert loss(mixed) <= min(loss(softmax(one)) for one in members)
