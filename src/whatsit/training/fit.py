"""Fits a head on frozen features, or a whole network on pictures: one loop for both."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whatsit.errors import WhatsitError
from whatsit.files import write_text
from whatsit.models.classifier import add_head, set_standard
from whatsit.training.augment import augment, wants_augmentation
from whatsit.training.calibration import calibrated_losses, clearly_less, log_losses
from whatsit.training.recipe import Recipe, working_batch_size

if TYPE_CHECKING:
    import keras

Labels = npt.NDArray[np.int64]
Epoch = dict[str, Any]  # stage, epoch, losses and accuracies, learning rate, seconds since the start


# The best epoch is the one that will ship best: by its loss once calibrated. The plain validation loss rises as soon as
# a network grows too sure of itself, which calibration cures, and would choose too early an epoch. Among epochs within
# one standard error of the lowest loss, the latest is kept: it has learned longest, at the lowest learning rate.
CHOSEN_BY = "val_calibrated_loss"


class TrainingError(WhatsitError):
    """Training went wrong in a way that another recipe may cure."""


@dataclass(frozen=True)
class Fitted:
    """A fitted model at its best epoch."""

    model: keras.Model
    best: Epoch  # that epoch's entry in the history
    validation_logits: npt.NDArray[np.float32]  # [N, K]


class History:
    """Every epoch of a run, kept in `history.csv` in its folder and told to whoever listens."""

    def __init__(self, folder: Path, on_epoch: Callable[[Epoch], None] | None = None) -> None:
        self.folder = folder
        self.entries: list[Epoch] = []
        self._on_epoch = on_epoch
        self._started = time.perf_counter()

    def add(self, stage: str, epoch: int, logs: dict[str, Any], learning_rate: float) -> Epoch:
        """Note an epoch (counted from 1 in each stage) with its losses and accuracies."""
        entry: Epoch = {"stage": stage, "epoch": epoch}
        entry |= {key: float(logs[key]) for key in ("loss", "accuracy", "val_loss", "val_accuracy", CHOSEN_BY)}
        entry |= {"learning_rate": learning_rate, "seconds": round(time.perf_counter() - self._started, 3)}
        self.entries.append(entry)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(entry), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.entries)
        write_text(self.folder / "history.csv", text.getvalue())
        if self._on_epoch:
            self._on_epoch(entry)
        return entry


def fit_head(
    train: Sequence[npt.NDArray[np.float16]],
    train_labels: Labels,
    validation: npt.NDArray[np.float16],
    validation_labels: Labels,
    classes: int,
    recipe: Recipe,
    history: History,
    stage: str = "head",
) -> Fitted:
    """Train the head on features; each view of the training pictures is an array `[N, F]`, N as in `train_labels`."""
    import keras

    embedding = keras.Input((train[0].shape[1],), name="features")
    logits = add_head(embedding, classes, hidden=recipe.hidden, dropout=recipe.dropout, standardize=True)
    model = keras.Model(embedding, logits)
    set_standard(model, *_mean_and_variance(train))
    batch_size = working_batch_size(recipe, len(train) * len(train_labels))
    batches = _feature_batches(train, train_labels, batch_size, recipe.seed)
    fitted = _fit(model, batches, validation, validation_labels, recipe, history, stage)
    batches.views.clear()  # TensorFlow holds on to the generator, but need not to the largest arrays of all
    return fitted


def fit_network(
    features: keras.Model,
    train: npt.NDArray[np.uint8],
    train_labels: Labels,
    validation: npt.NDArray[np.uint8],
    validation_labels: Labels,
    classes: int,
    recipe: Recipe,
    history: History,
    stage: str = "scratch",
) -> Fitted:
    """Train a network from scratch, with a head on its embedding, on pictures uint8 `[N, H, W, 3]`."""
    import keras
    import tensorflow as tf

    logits = add_head(features.outputs[1], classes, hidden=recipe.hidden, dropout=recipe.dropout, standardize=False)
    model = keras.Model(features.input, logits)
    pictures, labels = tf.constant(train), tf.constant(train_labels)
    order = tf.data.Dataset.range(len(train)).shuffle(len(train), seed=recipe.seed)
    order = order.batch(working_batch_size(recipe, len(train)))

    def fetch(rows: Any, seed: Any) -> Any:
        pixels = tf.gather(pictures, rows)
        return (augment(pixels, recipe, seed) if wants_augmentation(recipe) else pixels), tf.gather(labels, rows)

    seeds = tf.data.Dataset.random(recipe.seed, rerandomize_each_iteration=True)
    batches = tf.data.Dataset.zip((order, seeds)).map(fetch, num_parallel_calls=2).prefetch(4)
    return _fit(model, batches, validation, validation_labels, recipe, history, stage)


def _fit(
    model: keras.Model,
    train: Any,
    validation: npt.NDArray[Any],
    validation_labels: Labels,
    recipe: Recipe,
    history: History,
    stage: str,
) -> Fitted:
    import keras

    model.compile(
        optimizer=keras.optimizers.Adam(recipe.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    journal = _journal(history, stage, validation, validation_labels)
    model.fit(
        train,
        epochs=recipe.epochs,
        shuffle=False,  # the data do it themselves
        verbose=0,
        callbacks=[
            journal,
            keras.callbacks.TerminateOnNaN(),
            keras.callbacks.ReduceLROnPlateau(
                CHOSEN_BY, recipe.reduce_factor, recipe.reduce_patience, mode="min", min_delta=0.0
            ),
            keras.callbacks.EarlyStopping(CHOSEN_BY, patience=recipe.early_stopping_patience, mode="min"),
        ],
    )
    if journal.best_weights is None:
        raise TrainingError(
            f"the loss became infinite or not a number in the first epoch; "
            f"try a lower learning rate than {recipe.learning_rate:g} (--set learning_rate=...)"
        )
    model.set_weights(journal.best_weights)
    return Fitted(model, journal.best, journal.best_logits)


def _journal(history: History, stage: str, validation: npt.NDArray[Any], labels: Labels) -> Any:
    import keras

    class Journal(keras.callbacks.Callback):  # type: ignore[misc]
        """Validates and notes every epoch, and keeps the best weights (see `CHOSEN_BY`), here and on disk."""

        def __init__(self) -> None:
            super().__init__()
            self.best: Epoch = {}
            self.best_weights: list[npt.NDArray[Any]] | None = None
            self._lowest: npt.NDArray[np.float64] | None = None  # each picture's loss at the epoch with the lowest
            self.best_logits: npt.NDArray[np.float32] = np.empty((0, 0), np.float32)

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            logs = {} if logs is None else logs  # the later callbacks read what is put in here
            logits = in_slices(self.model, validation)
            logs["val_loss"] = float(log_losses(logits, labels).mean())
            logs["val_accuracy"] = float((logits.argmax(axis=1) == labels).mean())
            losses = calibrated_losses(logits, labels)
            logs[CHOSEN_BY] = float(losses.mean())
            entry = history.add(stage, epoch + 1, logs, float(self.model.optimizer.learning_rate))
            if not math.isfinite(entry[CHOSEN_BY]):
                return
            if self._lowest is None or not clearly_less(self._lowest, losses, errors=1):
                self.best, self.best_weights, self.best_logits = entry, self.model.get_weights(), logits
                self._save(history.folder / "checkpoints" / f"{stage}.weights.h5")
            if self._lowest is None or losses.mean() < self._lowest.mean():
                self._lowest = losses

        def _save(self, path: Path) -> None:
            path.parent.mkdir(exist_ok=True)
            temporary = path.with_name(f"writing-{path.name}")
            self.model.save_weights(temporary, overwrite=True)
            temporary.replace(path)

    return Journal()


def in_slices(model: keras.Model, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The model's answers, without the overhead of `predict`; half precision is widened first."""
    slices = (inputs[start : start + 256] for start in range(0, len(inputs), 256))
    wide = (part.astype(np.float32) if part.dtype == np.float16 else part for part in slices)
    return np.concatenate([np.asarray(model(part, training=False), np.float32) for part in wide])


def _mean_and_variance(views: Sequence[npt.NDArray[np.float16]]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Of each column over all views, in float64, a slice at a time."""
    width, count = views[0].shape[1], sum(len(view) for view in views)
    total, squares = np.zeros(width), np.zeros(width)
    for view in views:
        for start in range(0, len(view), 1024):
            chunk = view[start : start + 1024].astype(np.float64)
            total += chunk.sum(axis=0)
            squares += np.square(chunk).sum(axis=0)
    mean = total / count
    return mean, np.maximum(squares / count - np.square(mean), 1e-6)


def _feature_batches(views: Sequence[npt.NDArray[np.float16]], labels: Labels, batch_size: int, seed: int) -> Any:
    """Batches of features, drawn from all views, in another order every epoch."""
    import keras

    count, kinds, width = len(labels), len(views), views[0].shape[1]

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __init__(self, views: list[npt.NDArray[np.float16]]) -> None:
            super().__init__()
            self.views = views  # as an attribute, not in the closure, so that they can be let go
            self._rng = np.random.default_rng(seed)
            self._rows = np.arange(count * kinds)
            self.on_epoch_end()

        def __len__(self) -> int:
            return math.ceil(len(self._rows) / batch_size)

        def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], Labels]:
            rows = self._rows[index * batch_size : (index + 1) * batch_size]
            batch = np.empty((len(rows), width), np.float32)
            for number, view in enumerate(self.views):
                mine = rows // count == number
                batch[mine] = view[rows[mine] % count]
            return batch, labels[rows % count]

        def on_epoch_end(self) -> None:
            self._rng.shuffle(self._rows)

    return Batches(list(views))
