"""What every way of training begins with, a job, and ends with: a calibrated classifier and the data it was fitted on."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whatsit.engines import open_engine
from whatsit.errors import DataError
from whatsit.events import Reporter
from whatsit.images.batches import decode_batches
from whatsit.images.scan import Dataset
from whatsit.images.views import apply_view
from whatsit.models.classifier import complete, features_to_onnx, head_alone, of_views
from whatsit.models.surgery import copied
from whatsit.models.unknown import Mahalanobis
from whatsit.training.calibration import calibrated_losses, fit_temperature
from whatsit.training.clock import Clock
from whatsit.training.history import Epoch, History
from whatsit.training.loop import Fitted, in_slices
from whatsit.training.recipe import Recipe
from whatsit.training.watch import Outcome, signs_of_trouble

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from whatsit.training.frozen import FrozenNetwork

DRAWS = 4  # of errors of features

Labels = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Job:
    """What is to be trained."""

    dataset: Dataset  # split
    recipe: Recipe
    size: int  # side at which the network works
    upscale: int  # the input is smaller by this factor, and enlarged inside the graph
    folder: Path  # of the run
    history: History
    clock: Clock
    reporter: Reporter
    stage_prefix: str = ""  # of the names of its stages in the history
    brief: bool = False  # a trial, of which nothing but the validation loss matters
    complete: bool = False  # too little time for all of the pictures is an error, not a reason to take fewer

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the pictures that the network takes."""
        return self.size // self.upscale, self.size // self.upscale

    def reserve(self, features: keras.Model, first: int = 0) -> None:
        """Keep time for what follows training with this network; `first` as `Clock.reserve` has it."""
        if self.clock.limited and not self.brief:
            views = len(self.test_views)
            self.clock.reserve(views * seconds_per_picture(features, self.dataset), first)

    @property
    def test_views(self) -> tuple[str, ...]:
        """The views of a picture that the shipped model looks at."""
        return self.recipe.test_views(self.input_size[0])

    def without(self, unreadable: list[tuple[str, str]]) -> Job:
        """The job less the pictures that turned out to be unreadable. Raises `DataError`."""
        return replace(self, dataset=require_every_class(self.dataset.without(unreadable)))


@dataclass(frozen=True)
class Trained:
    """A fitted and calibrated classifier, in two parts.

    The network may be one that is kept open for the next training: layers attached to it would live as long as it does, a few
    megabytes a training. So the parts are put together only when somebody asks, on a copy.
    """

    features: (
        keras.Model
    )  # from `image` uint8 [N, H, W, 3] to (feature_map, embedding [N, F]); nothing is attached to it
    head: keras.Model  # from the embedding to the logits [N, K]
    dataset: Dataset  # less the pictures that turned out to be unreadable
    best: Epoch  # the entry of the history whose weights these are
    temperature: float
    history: tuple[Epoch, ...]  # every epoch of every stage
    known: Mahalanobis  # what the training pictures look like, so that strangers can be told
    losses: npt.NDArray[np.float64]  # [N], of each validation picture, calibrated
    right: npt.NDArray[np.bool_]  # [N], whether the prediction of each validation picture is right
    recipe: Recipe  # as it was carried out
    frozen: FrozenNetwork | None = None  # what the features came from, where they came from one
    warnings: tuple[str, ...] = ()  # what looks wrong about this training, a line each with what to try
    probe: float | None = None  # validation accuracy of a linear probe on the frozen features

    @functools.cached_property
    def classifier(self) -> keras.Model:
        """The whole, a copy: from `image` to calibrated `probabilities` [N, K], of one view."""
        return complete(copied(self.features), self.head, self.temperature)

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the pictures that it takes."""
        height, width = (int(side) for side in self.features.input.shape[1:3])
        return height, width

    @property
    def embedding_width(self) -> int:
        """How many features the head sees."""
        return int(self.features.outputs[1].shape[-1])

    @property
    def test_views(self) -> tuple[str, ...]:
        """The views of a picture whose mean logits are the answer."""
        return self.recipe.test_views(self.input_size[0])

    def probabilities(self, pixels: Pixels) -> npt.NDArray[np.float64]:
        """What the two parts, as they were fitted, say of pictures uint8 `[N, H, W, 3]`: `[N, K]`, by Keras in float32."""
        return self._answer(self._embed(pixels))

    def sensitivity(self, pixels: Pixels, error: float) -> npt.NDArray[np.float64]:
        """Return by how much probabilities of each picture move where every feature has a relative error of that size.

        The error is drawn (normal, seeded). On pictures unlike those it was trained on, such as a black one, standardized
        features are large, and a head amplifies the rounding of float32 far more than on others.

        Args:
            pixels: uint8 `[N, H, W, 3]`.
            error: standard deviation of the relative error, such as 1e-4.

        Returns:
            float64 `[N]`, the largest change of a probability, of a few draws.
        """
        seen = self._embed(pixels)
        answer, rng = self._answer(seen), np.random.default_rng(0)
        moved = []
        for _ in range(DRAWS):
            wrong = [(one * (1 + error * rng.normal(size=one.shape))).astype(np.float32) for one in seen]
            moved.append(np.abs(self._answer(wrong) - answer).max(axis=1))
        most: npt.NDArray[np.float64] = np.max(moved, axis=0)
        return most

    def _embed(self, pixels: Pixels) -> list[npt.NDArray[Any]]:
        """The features of each view, by Keras in float32."""
        import keras

        embed = keras.Model(self.features.input, self.features.outputs[1])
        # Eight at a time: Keras holds every map of a slice until its last layer is done.
        parts = [pixels[start : start + 8] for start in range(0, len(pixels), 8)]
        return [np.concatenate([in_slices(embed, apply_view(one, view)) for one in parts]) for view in self.test_views]

    def _answer(self, seen: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
        """Probabilities from the features of each view."""
        scaled = logits_of_views(self.head, seen).astype(np.float64) / self.temperature
        shares: npt.NDArray[np.float64] = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return shares

    def keras_model(self) -> keras.Model:
        """The classifier as it answers, for other people's tools."""
        return of_views(self.classifier, self.test_views) if len(self.test_views) > 1 else self.classifier


def seconds_per_picture(features: keras.Model, dataset: Dataset) -> float:
    """What a network (to `feature_map` and `embedding`) takes to decode and answer a picture when it ships, in float32."""
    engine, some = open_engine(features_to_onnx(features), ["embedding"]), dataset.of("validation")[:64]
    height, width = (int(side) for side in features.input.shape[1:3])
    rounds = []
    for _ in range(2 + 64 // max(len(some), 1)):  # the first is to warm up; of few pictures more, as one may be slow
        started = time.perf_counter()
        batches = decode_batches(some, dataset.read, (height, width), batch_size=8)
        count = sum(len(outputs[0]) for outputs in engine.stream(batch.pixels for batch in batches))
        rounds.append((time.perf_counter() - started) / max(count, 1))
    return min(rounds[1:])


def finish(
    job: Job,
    features: keras.Model,
    fitted: Fitted,
    validation_labels: Labels,
    validation_logits: npt.NDArray[np.float32],
    known: Mahalanobis,
    frozen: FrozenNetwork | None = None,
    probe: float | None = None,
) -> Trained:
    """Calibrate on the validation set and look for signs of trouble.

    `features` is the network as it ships, `fitted.model` any that ends in the head.
    `validation_logits` are those of the classifier as it ships: the mean of the views that the recipe has. `probe` is the
    validation accuracy of a linear probe on frozen features, where there is one.
    """
    temperature, _ = fit_temperature(validation_logits, validation_labels)
    outcome = Outcome(
        tuple(entry for entry in job.history.entries if entry["stage"] == fitted.best["stage"]),
        fitted.best,
        validation_logits.argmax(axis=1),
        validation_labels,
        job.dataset.classes,
        probe,
    )
    return Trained(
        features,
        head_alone(fitted.model),
        job.dataset,
        fitted.best,
        temperature,
        tuple(job.history.entries),
        known,
        calibrated_losses(validation_logits, validation_labels),
        outcome.predicted == validation_labels,
        job.recipe,
        frozen,
        signs_of_trouble(outcome),
        probe,
    )


def logits_of_views(model: keras.Model, views: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """The mean logits `[N, K]` that a model has of one or several views of the same pictures (or of their features)."""
    total: npt.NDArray[np.float32] = sum((in_slices(model, view) for view in views[1:]), in_slices(model, views[0]))
    return total / np.float32(len(views))


def logits_of_pixels(features: keras.Model, job: Job, head: keras.Model, pixels: Pixels) -> npt.NDArray[np.float32]:
    """The logits `[N, K]` of the whole float32 network with that head, as it ships: run by the fastest runtime."""
    engine = open_engine(features_to_onnx(features), ["embedding"])
    last = head_alone(head)

    def batches() -> Iterator[Pixels]:
        for start in range(0, len(pixels), 16):
            for view in job.test_views:
                yield apply_view(pixels[start : start + 16], view)

    kinds, answers = len(job.test_views), engine.stream(batches())
    logits = []
    while group := [outputs[0] for outputs in itertools.islice(answers, 16 * kinds)]:
        logits.append(logits_of_views(last, [np.concatenate(group[number::kinds]) for number in range(kinds)]))
    return np.concatenate(logits)


def require_every_class(dataset: Dataset) -> Dataset:
    """Raises `DataError` where unreadable pictures leave a class without any to train on, or nothing to validate on."""
    have = {picture.label for picture in dataset.of("train")}
    missing = [label for label in dataset.classes if label not in have]
    if missing or not dataset.of("validation"):
        what = f"training picture of the class '{missing[0]}'" if missing else "validation picture"
        if not dataset.unreadable:
            raise DataError(f"{dataset.source}: no {what} is left")
        name, reason = dataset.unreadable[-1]
        raise DataError(
            f"{dataset.source}: no {what} can be read; {len(dataset.unreadable)} cannot, such as {name}: {reason}"
        )
    return dataset
