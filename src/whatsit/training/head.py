"""Heads on frozen features: one trained step by step, and a linear probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Float16, Labels
from whatsit.images.stored_arrays import pieces
from whatsit.models import classifier
from whatsit.models.network import Network
from whatsit.training.batches import FeatureBatches, Targets
from whatsit.training.calibration import calibrated_losses, log_losses
from whatsit.training.clock import Clock
from whatsit.training.context import Context
from whatsit.training.history import CHOSEN_BY
from whatsit.training.loop import Task, fit
from whatsit.training.probe import fit_probe
from whatsit.training.resolve import working_batch_size
from whatsit.training.trainer import Fitted, logits_of_views, losses_of

SOFTENED = 0.3  # of the mean standard deviation is added to that of each feature


@dataclass(frozen=True)
class Seen:
    """The features of the images, float16 `[N, F]` of each view, and labels `[N]`."""

    train: dict[str, Float16]
    labels: Labels
    held: dict[str, Float16]  # of the validation images
    held_labels: Labels


@dataclass(frozen=True)
class Head:
    """A fitted head and the frozen network that it belongs to."""

    network: Network
    fitted: Fitted
    logits: npt.NDArray[np.float32]  # [N, classes], of the validation images, as it ships

    def right(self, seen: Seen) -> npt.NDArray[np.bool_]:
        """Return whether each validation image is predicted right."""
        right: npt.NDArray[np.bool_] = self.logits.argmax(axis=1) == seen.held_labels
        return right


def fit_head(context: Context, depth: str, network: Network, seen: Seen, clock: Clock | None) -> Head:
    """Train a head on a network's part of the features; the deepest stand last."""
    width = network.width
    views = [seen.train[view][:, -width:] for view in context.recipe.views]
    held = [seen.held[view][:, -width:] for view in context.test_views]
    fitted = _fit(context, f"{context.stage_prefix}head-{depth}", views, seen, held[0], clock)
    return Head(network, fitted, logits_of_views(fitted.model, held))


def _fit(context: Context, stage: str, views: list[Float16], seen: Seen, held: Float16, clock: Clock | None) -> Fitted:
    """Train a head on views of the training images, each `[N, F]`.

    Validation images, `[M, F]`, judge it.
    """
    import keras

    recipe, classes, labels = context.recipe, len(context.dataset.classes), seen.labels
    embedding = keras.Input((views[0].shape[1],), name="features")
    logits = classifier.add_head(embedding, classes, hidden=recipe.hidden, dropout=recipe.dropout, standardize=True)
    model = keras.Model(embedding, logits)
    classifier.set_standard(model, *_standard(views))
    size = working_batch_size(recipe, len(views) * len(labels))
    batches = FeatureBatches(views, labels, Targets.of(labels, classes, recipe), size, recipe.seed)
    task = Task(stage, model, batches, held, seen.held_labels, rarely=context.brief)
    return fit(task, recipe, context.history, clock)


def _standard(views: list[Float16]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return mean and squared scale of each column over all views, in float64.

    It is divided by its scale: its standard deviation and a share of the mean of all. By its own alone, a feature that hardly
    varies in few training images would outweigh all others in an image that has it.
    """
    width, count = views[0].shape[1], sum(len(view) for view in views)
    total, squares = np.zeros(width), np.zeros(width)
    for view in views:
        for some in pieces(view, 1024):
            chunk = some.astype(np.float64)
            total += chunk.sum(axis=0)
            squares += np.square(chunk).sum(axis=0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
    return mean, np.maximum(np.square(deviation + SOFTENED * deviation.mean()), 1e-6)


def fit_probe_head(context: Context, network: Network, seen: Seen) -> Head:
    """Fit a linear probe on the plain images, as a head like any other."""
    width, classes = network.width, len(context.dataset.classes)
    train, held = seen.train["original"][:, -width:], [seen.held[view][:, -width:] for view in context.test_views]
    probe = fit_probe((train, seen.labels), (held[0], seen.held_labels), classes, context.recipe.seed)
    model = classifier.linear_head(probe.standard.mean, probe.standard.scale, probe.weights, probe.offset)
    logits = logits_of_views(model, held)
    best = {
        "stage": f"{context.stage_prefix}probe",
        "epoch": 1,
        "loss": float(losses_of(model, train, seen.labels).mean()),
        "accuracy": float((probe.predict(train) == seen.labels).mean()),
        "val_loss": float(log_losses(logits, seen.held_labels).mean()),
        "val_accuracy": float((logits.argmax(axis=1) == seen.held_labels).mean()),
        CHOSEN_BY: float(calibrated_losses(logits, seen.held_labels).mean()),
    }
    return Head(network, Fitted(model, best, logits), logits)
