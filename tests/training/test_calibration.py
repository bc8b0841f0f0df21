from __future__ import annotations

import numpy as np
import pytest

from whatsit.bundle.format import Conformal
from whatsit.training.calibration import (
    acceptance_threshold,
    calibrated_losses,
    clearly_less,
    conformal_scores,
    fit_temperature,
    log_losses,
)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_temperature_of_known_logits_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 5))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (shares.cumsum(axis=1) > rng.random((len(logits), 1))).argmax(axis=1)
    found, loss = fit_temperature(logits * temperature, labels)
    assert found == pytest.approx(temperature, rel=0.03)
    assert loss == pytest.approx(log_losses(logits, labels).mean(), abs=1e-3)


def test_few_perfect_answers_do_not_make_certain() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    logits = rng.normal(0, 1, (200, 2)) + 6 * np.eye(2)[labels]
    logits[np.arange(200), 1 - labels] = np.minimum(
        logits[np.arange(200), 1 - labels], logits[np.arange(200), labels] - 1
    )
    assert 0.4 <= fit_temperature(logits, labels)[0] <= 1.0


def test_perfect_answers_stay_finite() -> None:
    found, loss = fit_temperature(np.eye(3) * 50, np.arange(3))
    assert 0.05 <= found <= 20
    assert np.isfinite(loss)


def test_clearly_less_takes_noise_into_account() -> None:
    rng = np.random.default_rng(0)
    losses = rng.exponential(1.0, 500)
    assert clearly_less(losses * 0.8, losses, errors=2)
    assert not clearly_less(losses, losses * 0.8, errors=2)
    assert not clearly_less(losses, losses + rng.normal(0, 1, 500), errors=2)


def test_logits_that_are_not_finite_have_infinite_loss() -> None:
    assert np.isinf(calibrated_losses(np.array([[np.nan, 0.0]]), np.array([0]))).all()


def test_threshold_lets_the_promised_share_of_new_pictures_through() -> None:
    rng = np.random.default_rng(0)
    let_through = []
    for _ in range(400):
        threshold, promised = acceptance_threshold(rng.normal(0, 1, 59), 0.95)
        assert promised == 0.95
        let_through.append((rng.normal(0, 1, 200) <= threshold).mean())
    assert np.mean(let_through) == pytest.approx(0.95, abs=0.01)


def test_threshold_from_few_pictures_promises_less() -> None:
    assert acceptance_threshold(np.array([3.0, 1.0, 2.0]), 0.95) == (3.0, 0.75)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.97])
def test_prediction_sets_hold_what_they_promise(coverage: float) -> None:
    """Even for a model whose probabilities are wrong."""
    rng = np.random.default_rng(1)
    held = []
    for _ in range(200):
        probabilities = rng.dirichlet(np.ones(6) * 0.4, 300)
        labels = np.array([rng.choice(6, p=np.sqrt(row) / np.sqrt(row).sum()) for row in probabilities])
        conformal = Conformal(tuple(conformal_scores(labels[:150], probabilities[:150])))
        own = probabilities[np.arange(150, 300), labels[150:]]
        held.append((own >= conformal.smallest(coverage)).mean())
    assert np.mean(held) == pytest.approx(coverage, abs=0.015)


def test_less_by_a_rounding_error_is_not_clearly_less() -> None:
    losses = np.linspace(0.1, 2.0, 30)
    assert not clearly_less(losses - 1e-7, losses, errors=2)
    assert clearly_less(losses - 0.01, losses, errors=2)
