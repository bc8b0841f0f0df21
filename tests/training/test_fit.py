from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from whatsit.models.backend import load_keras
from whatsit.training.fit import History, TrainingError, fit_head
from whatsit.training.recipe import Recipe

load_keras()
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 300)
FEATURES = (RNG.normal(0, 1, (300, 8)) + 2 * np.eye(3, 8)[LABELS]).astype(np.float16)


def fit(folder: Path, recipe: Recipe, features: np.ndarray = FEATURES):
    return fit_head(
        [features[:200], features[:200]], LABELS[:200], features[200:], LABELS[200:], 3, recipe, History(folder), "head"
    )


def test_head_learns_and_every_epoch_is_noted(tmp_path: Path) -> None:
    fitted = fit(tmp_path, Recipe(epochs=8, hidden=16, learning_rate=0.01))
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == [str(i) for i in range(1, len(rows) + 1)]
    assert float(fitted.best["val_accuracy"]) >= 0.8
    assert (tmp_path / "checkpoints" / "head.weights.h5").is_file()


def test_logits_are_those_of_the_kept_weights(tmp_path: Path) -> None:
    fitted = fit(tmp_path, Recipe(epochs=6, hidden=16, learning_rate=0.05))
    again = np.asarray(fitted.model(FEATURES[200:].astype(np.float32), training=False))
    assert np.abs(again - fitted.validation_logits).max() <= 1e-4


def test_learning_rate_falls_and_training_stops_on_a_plateau(tmp_path: Path) -> None:
    noise = RNG.normal(0, 1, (300, 8)).astype(np.float16)
    recipe = Recipe(epochs=60, hidden=16, learning_rate=0.01, early_stopping_patience=4, reduce_patience=1)
    fit(tmp_path, recipe, noise)
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert len(rows) < 60
    assert float(rows[-1]["learning_rate"]) < 0.01


def test_loss_that_is_not_a_number_says_what_to_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A network whose logits overflow, whatever this machine's fused operations make of a NaN on the way.
    monkeypatch.setattr("whatsit.training.fit.calibrated_losses", lambda logits, labels: np.full(len(labels), np.inf))
    with pytest.raises(TrainingError, match=r"try a lower learning rate than 0\.001"):
        fit(tmp_path, Recipe(epochs=2, learning_rate=0.001))
