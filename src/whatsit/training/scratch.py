"""The `baseline` and `scratch` ways: a network from scratch on images in memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from whatsit.models import classifier, cnn
from whatsit.models.surgery import copy_weights
from whatsit.training.batches import PictureBatches, Targets
from whatsit.training.context import Context
from whatsit.training.loop import Task, fit
from whatsit.training.resolve import working_batch_size
from whatsit.training.trained import Trained, finish, logits_of_pixels
from whatsit.training.trainer import in_slices
from whatsit.training.unknown import FEW, MAX_PICTURES, enough_rows, fit_mahalanobis

# The batch for which a recipe's learning rate of SGD is meant: smaller ones take smaller steps (Goyal et al. 2017).
FULL_BATCH = 512
MODERN_SCALE = 0.125  # of the logits in training: it cools the last layer, whose kernel is not normalized (Page 2019)


def train_scratch(context: Context) -> Trained:
    """Train a network from scratch."""
    import keras

    recipe, dataset = context.recipe, context.dataset
    train, held = context.decode("train"), context.decode("validation")
    context = context.without([*train.failed, *held.failed])
    classes = len(dataset.classes)
    labels, held_labels = context.labels(train.pictures), context.labels(held.pictures)
    # The same network twice: as it is fastest trained here, and as it ships.
    networks = [
        cnn.build_cnn(
            recipe.model, context.size, filters=recipe.filters, batch_norm=recipe.batch_norm, for_training=fast
        )
        for fast in (True, False)
    ]
    if recipe.model == cnn.MODERN_CNN:
        enough = max(50, 2000 * 32**2 // context.size**2)
        some = np.sort(np.random.default_rng(recipe.seed).permutation(len(labels))[:enough])
        cnn.set_whitening(networks[0], train.pixels[some])
    features, shipped = (classifier.flat_features(network) for network in networks)
    most = FEW if context.brief else MAX_PICTURES
    context.reserve(shipped, held=len(held_labels), known=min(most, len(labels)))
    logits = classifier.add_head(
        features.outputs[1], classes, hidden=recipe.hidden, dropout=recipe.dropout, standardize=False
    )
    size = working_batch_size(recipe, len(labels), context.size)
    if recipe.optimizer == "sgd":
        recipe = replace(recipe, learning_rate=recipe.learning_rate * size / FULL_BATCH)
    batches = PictureBatches(train.pixels, labels, Targets.of(labels, classes, recipe), size, recipe)
    scale = MODERN_SCALE if recipe.model == cnn.MODERN_CNN else 1.0
    model = keras.Model(features.input, keras.layers.Rescaling(scale, name="scaled_logits")(logits))
    rate = ("learning_rate", context.recipe.learning_rate)
    task = Task(f"{context.stage_prefix}scratch", model, batches, held.pixels, held_labels, rate)
    fitted = fit(task, recipe, context.history, context.clock)
    last = model.get_layer("logits")
    last.set_weights([scale * weights for weights in last.get_weights()])
    copy_weights(fitted.model, shipped)
    rows = enough_rows(labels, classes, recipe.seed, most)
    embed = keras.Model(shipped.input, classifier.ood_features(shipped))
    parts = [in_slices(embed, train.pixels[rows[start : start + 512]]) for start in range(0, len(rows), 512)]
    known = fit_mahalanobis(np.concatenate(parts), labels[rows], classes, recipe.seed)
    held_logits = (
        fitted.validation_logits if context.brief else logits_of_pixels(shipped, context, fitted.model, held.pixels)
    )
    return finish(context, shipped, fitted, held_labels, held_logits, known)
