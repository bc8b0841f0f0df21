"""The `baseline` way: a small network trained from scratch on pictures in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from whatsit.errors import DataError
from whatsit.images.batches import decode_batches
from whatsit.images.scan import Dataset, Picture, label_numbers
from whatsit.models import classifier
from whatsit.models.cnn import simple_cnn
from whatsit.progress import Reporter
from whatsit.training.fit import fit_network, in_slices
from whatsit.training.recipe import Recipe
from whatsit.training.trained import Trained, finish, new_history, require_every_class
from whatsit.training.unknown import enough_rows, fit_mahalanobis

MAX_PIXEL_BYTES = 4 * 1024**3


def train_scratch(dataset: Dataset, recipe: Recipe, size: int, folder: Path, reporter: Reporter) -> Trained:
    """Train the simple CNN at that input size, on a data set that is split."""
    import keras

    needed = (len(dataset.of("train")) + len(dataset.of("validation"))) * size * size * 3
    if needed > MAX_PIXEL_BYTES:
        raise DataError(
            f"{dataset.source}: at {size} x {size} the pictures take {needed / 1e9:.1f} GB of memory; choose a smaller size "
            f"(--set size=32), fewer pictures (--limit N), or the recipe 'fast', which does not hold them all"
        )
    train, train_pixels, lost = _load(
        dataset, dataset.of("train"), size, reporter.stage("Reading the training pictures")
    )
    held, held_pixels, gone = _load(
        dataset, dataset.of("validation"), size, reporter.stage("Reading the validation pictures")
    )
    dataset = require_every_class(dataset.without([*lost, *gone]))
    train_labels, held_labels = (np.array(label_numbers(part, dataset.classes)) for part in (train, held))
    history = new_history(folder, recipe, reporter)
    network = classifier.flat_features(simple_cnn(size))
    fitted = fit_network(
        network,
        train_pixels,
        train_labels,
        held_pixels,
        held_labels,
        len(dataset.classes),
        recipe,
        history,
    )
    rows = enough_rows(train_labels, len(dataset.classes), recipe.seed)
    embedding = in_slices(keras.Model(network.input, classifier.stranger_features(network)), train_pixels[rows])
    known = fit_mahalanobis(embedding, train_labels[rows], len(dataset.classes), recipe.seed)
    return finish(network, fitted, held_labels, dataset, history, known)


def _load(
    dataset: Dataset, pictures: Sequence[Picture], size: int, progress: Callable[[int, int], None]
) -> tuple[list[Picture], npt.NDArray[np.uint8], list[tuple[str, str]]]:
    """The readable pictures, their pixels `[N, size, size, 3]`, and (name, reason) of the others."""
    pixels = np.empty((len(pictures), size, size, 3), np.uint8)
    good: list[Picture] = []
    failed: list[tuple[str, str]] = []
    for batch in decode_batches(pictures, dataset.read, (size, size), batch_size=64):
        pixels[len(good) : len(good) + len(batch.pixels)] = batch.pixels
        good += batch.good
        failed += [(picture.name, str(error)) for picture, error in batch.failed]
        progress(len(good) + len(failed), len(pictures))
    return good, pixels[: len(good)], failed
