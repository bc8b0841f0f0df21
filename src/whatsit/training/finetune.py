"""The `finetune` way: the head of a frozen backbone, then its deepest layers too.

The layers are tuned with the head at a low learning rate. Batch-norm statistics are frozen for good: the norms are folded into
their convolutions. What stays frozen below the tuned layers is run by the fastest runtime: once, where the only augmentation is
a mirror image, else on every batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.models import classifier
from whatsit.models.backend import layer_policy
from whatsit.models.surgery import copy_weights, cut, folded
from whatsit.training.batches import IN_MEMORY, Batches, FeatureBatches, PictureBatches, Targets, wants_live_pictures
from whatsit.training.context import Context
from whatsit.training.features import FrozenNetwork
from whatsit.training.frozen import FrozenHead, train_frozen
from whatsit.training.loop import Task, TrainingError, fit
from whatsit.training.resolve import ALL, fine_tuning, tuned_layers
from whatsit.training.trained import Trained, finish, logits_of_pixels
from whatsit.training.trainer import Fitted, logits_of_views
from whatsit.training.unknown import MAX_PICTURES, enough_rows, fit_mahalanobis

STAGE = "finetune"  # in the history, behind the prefix
HEAD_SHARE = 0.35  # of the time, at most, for the features of the frozen network and its head


@dataclass(frozen=True)
class _Data:
    batches: Batches
    held_views: list[npt.NDArray[Any]]  # the validation pictures as the trained model takes them; the first view judges
    pixels: npt.NDArray[np.uint8] | None  # of the validation pictures, where they are at hand


def train_finetuned(context: Context) -> Trained:
    """Train the head, then the deepest layers; keep these where clearly better."""
    head = train_frozen(context, HEAD_SHARE)
    try:
        tuned = tune(head)
    except TrainingError as error:
        context.reporter.warn(f"fine-tuning failed, the frozen network with its head is kept: {error}")
        return head.trained
    if tuned.is_clearly_better(head.trained):
        return tuned
    context.reporter.say("Fine-tuning is not clearly better in validation; the frozen network with its head is kept")
    return replace(head.trained, history=tuned.history)


def tune(head: FrozenHead) -> Trained:
    """Fine-tune a network with its fitted head."""
    context = head.context
    count = tuned_layers(context.recipe, len(head.train_labels))
    second = replace(context, recipe=fine_tuning(context.recipe, whole=count == ALL, images=len(head.train_labels)))
    shipped = folded(head.features)
    context.reserve(shipped, held=len(head.validation_labels), known=min(MAX_PICTURES, len(head.train_labels)))
    network = folded(head.features, dtype=layer_policy(), for_training=True)
    whole = _with_head(network, head.fitted.model)
    model, bottom = whole, None
    if count != ALL:
        model = _with_head(cut(network, int(count)).top, head.fitted.model)
        bottom = FrozenNetwork.of_model(cut(shipped, int(count)).bottom)
    data = _data(second, head.train_labels, bottom)
    labels = head.validation_labels
    rate = ("finetune_learning_rate", second.recipe.learning_rate)
    task = Task(f"{context.stage_prefix}{STAGE}", model, data.batches, data.held_views[0], labels, rate)
    fitted = fit(task, second.recipe, context.history, context.clock)
    copy_weights(fitted.model, whole)
    copy_weights(whole, shipped)
    if data.pixels is None:
        logits = logits_of_views(fitted.model, data.held_views)
    elif context.brief:
        logits = fitted.validation_logits
    else:
        logits = logits_of_pixels(shipped, context, whole, data.pixels)
    return _finish(head, shipped, replace(fitted, model=whole), logits)


def _with_head(network: Any, head: Any) -> Any:
    """Return a network with a copy of a fitted head, up to the logits."""
    import keras

    whole = classifier.complete(network, head)
    return keras.Model(whole.input, whole.get_layer("logits").output)


def _data(context: Context, labels: npt.NDArray[np.int64], bottom: FrozenNetwork | None) -> _Data:
    """Return the data of the tuned layers: features of the frozen layers, or images."""
    recipe = context.recipe
    targets = Targets.of(labels, len(context.dataset.classes), recipe)
    views = ("original", "flip") if recipe.flip else ("original",)
    if bottom and not wants_live_pictures(recipe) and bottom.bytes(len(labels), views) <= IN_MEMORY:
        train = bottom.features(context.dataset, "train", views, context.reporter, IN_MEMORY)
        held = bottom.features(context.dataset, "validation", context.test_views, context.reporter, IN_MEMORY)
        context.require_all([*train.failed, *held.failed])
        arrays = [train.views[view] for view in views]
        batches = FeatureBatches(arrays, labels, targets, recipe.batch_size, recipe.seed, turns=True)
        return _Data(batches, [held.views[view] for view in context.test_views], None)
    decoded = [context.decode(split) for split in ("train", "validation")]
    context.require_all([failed for part in decoded for failed in part.failed])
    pixels = [part.pixels for part in decoded]
    then = bottom.run if bottom else None
    live = PictureBatches(pixels[0], labels, targets, recipe.batch_size, recipe, then)
    if not bottom:
        return _Data(live, [pixels[1]], pixels[1])
    slices = [bottom.run(pixels[1][start : start + 64]) for start in range(0, len(pixels[1]), 64)]
    return _Data(live, [np.concatenate(slices).astype(np.float16)], pixels[1])


def _finish(head: FrozenHead, shipped: Any, fitted: Fitted, logits: npt.NDArray[np.float32]) -> Trained:
    """Calibrate, and fit the unknown score on the features of the tuned network."""
    context, classes = head.context, len(head.context.dataset.classes)
    frozen, probe = head.trained.frozen, head.trained.probe
    if context.brief:
        known = head.trained.known
        return finish(context, shipped, fitted, head.validation_labels, logits, known, frozen, probe)
    rows = enough_rows(head.train_labels, classes, context.recipe.seed)
    pictures = context.dataset.of("train")
    network = FrozenNetwork.of_model(shipped)
    embedding = network.uncached(context.dataset, pictures.take(rows), ("original",), context.reporter)
    context.require_all(embedding.failed)
    known = fit_mahalanobis(embedding.views["original"], head.train_labels[rows], classes, context.recipe.seed)
    return finish(context, shipped, fitted, head.validation_labels, logits, known, frozen, probe)
