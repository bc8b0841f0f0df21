"""What every way of training ends with: a calibrated classifier and the data it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whatsit.errors import DataError
from whatsit.images.scan import Dataset
from whatsit.models.classifier import complete
from whatsit.models.unknown import Mahalanobis
from whatsit.progress import Reporter
from whatsit.training.calibration import fit_temperature
from whatsit.training.fit import Epoch, Fitted, History
from whatsit.training.recipe import Recipe

if TYPE_CHECKING:
    import keras

    from whatsit.training.frozen import FrozenNetwork


@dataclass(frozen=True)
class Trained:
    """A fitted and calibrated classifier."""

    classifier: keras.Model  # from `image` uint8 [N, H, W, 3] to calibrated `probabilities` [N, K]
    dataset: Dataset  # less the pictures that turned out to be unreadable
    best: Epoch  # the entry of the history whose weights these are
    temperature: float
    history: tuple[Epoch, ...]  # every epoch of every stage
    known: Mahalanobis  # what the training pictures look like, so that strangers can be told
    frozen: FrozenNetwork | None = None  # what the features came from, where they came from one

    @property
    def embedding_width(self) -> int:
        """How many features the head sees."""
        return int(self.classifier.get_layer("embedding").output.shape[-1])


def finish(
    features: keras.Model,
    fitted: Fitted,
    validation_labels: Any,
    dataset: Dataset,
    history: History,
    known: Mahalanobis,
    frozen: FrozenNetwork | None = None,
) -> Trained:
    """Calibrate on the validation set and put the whole classifier together."""
    temperature, _ = fit_temperature(fitted.validation_logits, validation_labels)
    classifier = complete(features, fitted.model, temperature)
    return Trained(classifier, dataset, fitted.best, temperature, tuple(history.entries), known, frozen)


def require_every_class(dataset: Dataset) -> Dataset:
    """Raises `DataError` where unreadable pictures leave a class without any to train on, or nothing to validate on."""
    have = {picture.label for picture in dataset.of("train")}
    missing = [label for label in dataset.classes if label not in have]
    if missing or not dataset.of("validation"):
        what = f"training picture of the class '{missing[0]}'" if missing else "validation picture"
        name, reason = dataset.unreadable[-1]
        raise DataError(
            f"{dataset.source}: no {what} can be read; {len(dataset.unreadable)} cannot, such as {name}: {reason}"
        )
    return dataset


def new_history(folder: Path, recipe: Recipe, reporter: Reporter) -> History:
    """A history that moves the progress stage "Training" on."""
    stages: dict[str, Any] = {}

    def on_epoch(entry: Epoch) -> None:
        stage = entry["stage"]
        if stage not in stages:
            stages[stage] = reporter.stage(f"Training ({stage})")
        stages[stage](entry["epoch"], recipe.epochs)

    return History(folder, on_epoch)
