"""The `finetune` way: the head of a frozen backbone first, then its deepest layers too, at a low learning rate.

Batch-norm statistics are frozen for good: the norms are folded into their convolutions. What stays frozen below the
tuned layers is run by the fastest runtime: once, where the only augmentation is a mirror image, else on every batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.errors import DataError
from whatsit.events import Work
from whatsit.models import classifier
from whatsit.models.backend import layer_policy
from whatsit.models.surgery import copy_weights, cut, folded
from whatsit.training.augment import wants_live_pictures
from whatsit.training.batches import Batches, FeatureBatches, PictureBatches, Targets
from whatsit.training.calibration import beats, clearly_less
from whatsit.training.frozen import FrozenHead, FrozenNetwork, train_frozen
from whatsit.training.knobs import ALL
from whatsit.training.loop import Fitted, Task, TrainingError, fit
from whatsit.training.pixels import IN_MEMORY, decode_all
from whatsit.training.recipe import Recipe
from whatsit.training.resolve import tuned_epochs, tuned_layers, working_shift
from whatsit.training.trained import Job, Trained, finish, logits_of_pixels, logits_of_views
from whatsit.training.unknown import MAX_PICTURES, enough_rows, fit_mahalanobis

HEAD_SHARE = 0.35  # of the time, at most, for the features of the frozen network and its head


@dataclass(frozen=True)
class _Data:
    batches: Batches
    held_views: list[npt.NDArray[Any]]  # the validation pictures as the trained model takes them; the first view judges
    pixels: npt.NDArray[np.uint8] | None  # of the validation pictures, where they are at hand


def train_finetuned(job: Job) -> Trained:
    """Train the head, then the deepest layers with it; these are kept where they are clearly better in validation."""
    head = train_frozen(job, HEAD_SHARE)
    try:
        tuned = tune(head)
    except TrainingError as error:
        job.reporter.warn(f"fine-tuning failed, the frozen network with its head is kept: {error}")
        return head.trained
    # Two standard errors: a small validation set would choose by chance.
    if clearly_less(tuned.losses, head.trained.losses, errors=2) and not beats(head.trained.right, tuned.right):
        return tuned
    job.reporter.say("Tuning made it no clearly better in validation; the frozen network with its head is kept")
    return replace(head.trained, history=tuned.history)


def tune(head: FrozenHead) -> Trained:
    """Fine-tune from a fitted head on."""
    job = head.job
    count = tuned_layers(job.recipe, len(head.train_labels))
    recipe = _tuning(job.recipe, whole=count == ALL)
    shipped = folded(head.features)
    job.reserve(shipped, len(head.validation_labels) + min(MAX_PICTURES, len(head.train_labels)))
    network = folded(head.features, dtype=layer_policy(), for_training=True)
    whole = _with_head(network, head.fitted.model)
    model, bottom = whole, None
    if count != ALL:
        model = _with_head(cut(network, int(count)).top, head.fitted.model)
        bottom = FrozenNetwork.of_model(cut(shipped, int(count)).bottom)
    data = _data(head, bottom, recipe)
    labels = head.validation_labels
    rate = ("finetune_learning_rate", recipe.learning_rate)
    task = Task(f"{job.stage_prefix}finetune", model, data.batches, data.held_views[0], labels, rate)
    fitted = fit(task, recipe, job.history, job.clock)
    copy_weights(fitted.model, whole)
    copy_weights(whole, shipped)
    if data.pixels is None:
        logits = logits_of_views(fitted.model, data.held_views)
    elif job.brief:
        logits = fitted.validation_logits
    else:
        logits = logits_of_pixels(shipped, job, whole, data.pixels)
    return _finish(head, shipped, replace(fitted, model=whole), logits)


def _tuning(recipe: Recipe, *, whole: bool) -> Recipe:
    """The recipe of the second stage, for the whole network or for some layers."""
    return replace(
        recipe,
        epochs=tuned_epochs(recipe, whole=whole),
        shift=working_shift(recipe, whole=whole),
        batch_size=recipe.finetune_batch_size,
        learning_rate=recipe.finetune_learning_rate,
        schedule="one-cycle",
    )


def _with_head(network: Any, head: Any) -> Any:
    """A network that ends in (feature_map, embedding), with a copy of a fitted head behind it, up to the logits."""
    import keras

    whole = classifier.complete(network, head)
    return keras.Model(whole.input, whole.get_layer("logits").output)


def _data(head: FrozenHead, bottom: FrozenNetwork | None, recipe: Recipe) -> _Data:
    job = head.job
    targets = Targets.of(head.train_labels, len(job.dataset.classes), recipe)
    views = ("original", "flip") if recipe.flip else ("original",)
    if bottom and not wants_live_pictures(recipe) and bottom.bytes(len(head.train_labels), views) <= IN_MEMORY:
        train = bottom.features(job.dataset, "train", views, job.reporter)
        held = bottom.features(job.dataset, "validation", job.test_views, job.reporter)
        _require_all(job, [*train.failed, *held.failed])
        arrays = [train.views[view] for view in views]
        batches = FeatureBatches(arrays, head.train_labels, targets, recipe.batch_size, recipe.seed, turns=True)
        return _Data(batches, [held.views[view] for view in job.test_views], None)
    pixels = [_pixels(job, split) for split in ("train", "validation")]
    then = bottom.run if bottom else None
    live = PictureBatches(pixels[0], head.train_labels, targets, recipe.batch_size, recipe, then)
    if not bottom:
        return _Data(live, [pixels[1]], pixels[1])
    slices = [bottom.run(pixels[1][start : start + 64]) for start in range(0, len(pixels[1]), 64)]
    return _Data(live, [np.concatenate(slices).astype(np.float16)], pixels[1])


def _pixels(job: Job, split: str) -> npt.NDArray[np.uint8]:
    told = job.reporter.stage(f"Reading pictures ({split})", Work.READING, split)
    decoded = decode_all(job.dataset, job.dataset.of(split), job.input_size, job.folder, told)
    _require_all(job, decoded.failed)
    return decoded.pixels


def _require_all(job: Job, failed: list[tuple[str, str]]) -> None:
    """Raises `DataError` where a picture that the head was trained on cannot be read any more."""
    if failed:
        name, reason = failed[0]
        raise DataError(f"{job.dataset.source}: {name} could be read before and now cannot: {reason}; train anew")


def _finish(head: FrozenHead, shipped: Any, fitted: Fitted, logits: npt.NDArray[np.float32]) -> Trained:
    """What strangers are told by is fitted anew, on what the tuned network says of the training pictures."""
    job, classes = head.job, len(head.job.dataset.classes)
    frozen, probe = head.trained.frozen, head.trained.probe
    if job.brief:
        return finish(
            job,
            shipped,
            fitted,
            head.validation_labels,
            logits,
            head.trained.known,
            head.trained.frozen,
            head.trained.probe,
        )
    rows = enough_rows(head.train_labels, classes, job.recipe.seed)
    pictures = job.dataset.of("train")
    progress = job.reporter.stage("Computing features (tuned network)", Work.FEATURES)
    embedding = FrozenNetwork.of_model(shipped).of(job.dataset, [pictures[row] for row in rows], progress=progress)
    _require_all(job, embedding.failed)
    known = fit_mahalanobis(embedding.views["original"], head.train_labels[rows], classes, job.recipe.seed)
    return finish(job, shipped, fitted, head.validation_labels, logits, known, frozen, probe)
