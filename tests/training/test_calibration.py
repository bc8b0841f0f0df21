from __future__ import annotations

import numpy as np
import pytest

from whatsit.training.calibration import calibrated_losses, clearly_less, fit_temperature, log_losses


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_temperature_of_known_logits_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 5))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (shares.cumsum(axis=1) > rng.random((len(logits), 1))).argmax(axis=1)
    found, loss = fit_temperature(logits * temperature, labels)
    assert found == pytest.approx(temperature, rel=0.03)
    assert loss == pytest.approx(log_losses(logits, labels).mean(), abs=1e-3)


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
