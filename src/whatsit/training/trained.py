"""The result of every way of training: a calibrated classifier and its data."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whatsit.engines import open_engine
from whatsit.images.scan import Dataset
from whatsit.images.views import apply_view
from whatsit.models.classifier import features_to_onnx, head_alone
from whatsit.models.network import AnyNetwork, Classifier, Network, as_network
from whatsit.models.unknown import Mahalanobis
from whatsit.training.calibration import beats, calibrated_losses, clearly_less, fit_temperature
from whatsit.training.context import Context
from whatsit.training.features import FrozenNetwork
from whatsit.training.forecast import MoreTime
from whatsit.training.history import Epoch
from whatsit.training.intervals import wilson_interval
from whatsit.training.recipe import Recipe
from whatsit.training.trainer import Fitted, logits_of_views

if TYPE_CHECKING:
    import keras

DRAWS = 4  # of errors of features
RISING = 1.1  # the last training loss against the first
RISEN = 0.05  # nats, below which a rise is the noise of few steps
FAR_BELOW = 0.1  # of training accuracy below a linear probe's on images that it never saw
ENOUGH = 5  # validation images of a class, without one of which being predicted as it says something
NAMED = 3  # classes by name in a warning


@dataclass(frozen=True)
class Trained:
    """A fitted and calibrated classifier, in two parts.

    The network may be one that is kept open for the next training: layers attached to it would live as long as it does, a few
    megabytes a training. So the parts are put together only when somebody asks, on a copy.
    """

    features: Network  # from images uint8 [N, H, W, 3] to an embedding [N, F]; nothing is attached to it
    head: keras.Model  # from the embedding to the logits [N, K]
    dataset: Dataset  # less the pictures that turned out to be unreadable
    best: Epoch  # the entry of the history whose weights these are
    temperature: float
    history: tuple[Epoch, ...]  # every epoch of every stage
    known: Mahalanobis  # the training images in feature space, for the out-of-distribution score
    losses: npt.NDArray[np.float64]  # [N], of each validation picture, calibrated
    right: npt.NDArray[np.bool_]  # [N], whether the prediction of each validation picture is right
    recipe: Recipe  # as it was carried out
    frozen: FrozenNetwork | None = None  # what the features came from, where they came from one
    warnings: tuple[str, ...] = ()  # what looks wrong about this training, a line each with what to try
    probe: float | None = None  # validation accuracy of a linear probe on the frozen features
    notes: tuple[str, ...] = ()  # what is good to know about this training, and needs nothing to be done
    ships: str = ""  # of a ladder: the rung that ships, and those that were not clearly better
    more_time: MoreTime | None = None  # what more time is likely to give, of a frozen network without a time limit

    def is_clearly_better(self, other: Trained) -> bool:
        """Return whether validation clearly prefers this one.

        A small validation set would choose by chance.
        """
        return clearly_less(self.losses, other.losses, errors=2) and not beats(other.right, self.right)

    def improves_on(self, other: Trained) -> bool:
        """Return whether validation rather prefers this one.

        It is for what is likely better to begin with: half a standard error of the paired losses is enough.
        """
        if len(self.losses) != len(other.losses):  # an image cannot be read any more, so they cannot be compared
            return False
        return clearly_less(self.losses, other.losses, errors=0.5) and not beats(other.right, self.right)

    @functools.cached_property
    def whole(self) -> Classifier:
        """The two parts put together, a copy."""
        return self.features.with_head(self.head, self.temperature)

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the pictures that it takes."""
        return self.features.size

    @property
    def embedding_width(self) -> int:
        """How many features the head sees."""
        return self.features.width

    @property
    def test_views(self) -> tuple[str, ...]:
        """The views of a picture whose mean logits are the answer."""
        return self.recipe.test_views(self.input_size[0])

    def probabilities(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return the probabilities `[N, K]` of images uint8 `[N, H, W, 3]`.

        They are those of the two parts as they were fitted, in float32.
        """
        return self._answer(self._embed(pixels))

    def sensitivity(self, pixels: npt.NDArray[np.uint8], error: float) -> npt.NDArray[np.float64]:
        """Return the change of probabilities where features have a relative error.

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

    def _embed(self, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        """Return the features of each view, in float32."""
        # Eight at a time, as all at once would take the more memory the more there are.
        parts = [pixels[start : start + 8] for start in range(0, len(pixels), 8)]
        return [
            np.concatenate([self.features.embed(apply_view(one, view)) for one in parts]) for view in self.test_views
        ]

    def _answer(self, seen: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
        """Return probabilities from the features of each view."""
        scaled = logits_of_views(self.head, seen).astype(np.float64) / self.temperature
        shares: npt.NDArray[np.float64] = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return shares

    def keras_model(self) -> keras.Model | None:
        """Return the classifier as it predicts, for other people's tools.

        None where the network is not of Keras.
        """
        return self.whole.to_keras(self.test_views)


def finish(
    context: Context,
    features: AnyNetwork,
    fitted: Fitted,
    validation_labels: npt.NDArray[np.int64],
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
        tuple(entry for entry in context.history.entries if entry["stage"] == fitted.best["stage"]),
        fitted.best,
        validation_logits.argmax(axis=1),
        validation_labels,
        context.dataset.classes,
        probe,
    )
    return Trained(
        as_network(features),
        head_alone(fitted.model),
        context.dataset,
        fitted.best,
        temperature,
        tuple(context.history.entries),
        known,
        calibrated_losses(validation_logits, validation_labels),
        outcome.predicted == validation_labels,
        context.recipe,
        frozen,
        signs_of_trouble(outcome),
        probe,
    )


def logits_of_pixels(
    features: keras.Model, context: Context, head: keras.Model, pixels: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Return the logits `[N, K]` of the network with that head, as it ships.

    The fastest runtime runs it in float32.
    """
    engine = open_engine(features_to_onnx(features), ["embedding"])
    last = head_alone(head)

    def batches() -> Iterator[npt.NDArray[np.uint8]]:
        for start in range(0, len(pixels), 16):
            for view in context.test_views:
                yield apply_view(pixels[start : start + 16], view)

    kinds, answers = len(context.test_views), engine.stream(batches())
    logits = []
    while group := [outputs[0] for outputs in itertools.islice(answers, 16 * kinds)]:
        logits.append(logits_of_views(last, [np.concatenate(group[number::kinds]) for number in range(kinds)]))
    return np.concatenate(logits)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a training."""

    epochs: tuple[Epoch, ...]  # of the stage that ships, in order
    best: Epoch  # the one that ships
    predicted: npt.NDArray[Any]  # int [N], the class predicted for each validation image
    labels: npt.NDArray[Any]  # int [N], its true class
    classes: tuple[str, ...]
    probe: float | None = None  # validation accuracy of a linear probe on frozen features, where there is one


def signs_of_trouble(outcome: Outcome) -> tuple[str, ...]:
    """Return a line for each sign of trouble, the worst first."""
    signs = [
        _rising_loss(outcome),
        _no_better_than_the_largest(outcome),
        _never_predicted(outcome),
        _below_probe(outcome),
    ]
    return tuple(sign for sign in signs if sign)


def _rising_loss(outcome: Outcome) -> str:
    losses = [float(epoch["loss"]) for epoch in outcome.epochs]
    if len(losses) < 2 or losses[-1] <= max(RISING * losses[0], losses[0] + RISEN):
        return ""
    return (
        f"the training loss rose from {losses[0]:.3f} to {losses[-1]:.3f}: the learning rate is likely too high; try a lower one "
        f"(--set learning_rate=..., or --recipe finetune --set finetune_learning_rate=... where layers are fine-tuned)"
    )


def _no_better_than_the_largest(outcome: Outcome) -> str:
    counts = np.bincount(outcome.labels, minlength=len(outcome.classes))
    largest, accuracy = int(counts.argmax()), float((outcome.predicted == outcome.labels).mean())
    share = counts[largest] / len(outcome.labels)
    _, high = wilson_interval(int((outcome.predicted == outcome.labels).sum()), len(outcome.labels))
    # A few validation images can all be wrong by luck: it may still be well above that share.
    if accuracy > share or high >= (share + 1) / 2:
        return ""
    return (
        f"in validation it is right for {accuracy:.1%}, always saying '{outcome.classes[largest]}' would be for {share:.1%}: it "
        f"learned nothing of use; look for labels in the wrong folders (whatsit explore DATA), or bring more images"
    )


def _never_predicted(outcome: Outcome) -> str:
    counts = np.bincount(outcome.labels, minlength=len(outcome.classes))
    given = np.bincount(outcome.predicted, minlength=len(outcome.classes))
    missing = np.flatnonzero((counts >= ENOUGH) & (given == 0))
    if not len(missing):
        return ""
    names = ", ".join(f"'{outcome.classes[place]}'" for place in missing[:NAMED])
    more = f" and {len(missing) - NAMED} more classes" if len(missing) > NAMED else ""
    return (
        f"{names}{more} {'is' if len(missing) == 1 else 'are'} never predicted for any of the {len(outcome.labels):,} validation "
        f"images: too few training images, or too like another class; bring more of them, or try --recipe finetune or "
        f"--set class_weights=balanced"
    )


def _below_probe(outcome: Outcome) -> str:
    trained, held = float(outcome.best["accuracy"]), float(outcome.best["val_accuracy"])
    if outcome.probe is None or trained > outcome.probe - FAR_BELOW or held >= outcome.probe:
        return ""
    return (
        f"in training it is right for {trained:.1%}, a linear probe on frozen features for {outcome.probe:.1%} of images that it "
        f"never saw: it did not learn what is there; try more epochs, another learning rate, or --recipe fast"
    )
