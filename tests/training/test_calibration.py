from __future__ import annotations

import numpy as np
import pytest

from whatsit.training.calibration import fit_temperature, log_losses


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
