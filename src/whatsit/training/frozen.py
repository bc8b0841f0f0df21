"""The `fast` way: a frozen backbone, its features computed once, a head trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from whatsit.engines import available, open_engine, training_precision
from whatsit.images.scan import Dataset, label_numbers
from whatsit.models import backbones, classifier
from whatsit.progress import Reporter
from whatsit.training.calibration import calibrated_losses, clearly_less
from whatsit.training.features import FeatureCache, Features, extract
from whatsit.training.fit import Fitted, fit_head
from whatsit.training.recipe import Recipe
from whatsit.training.trained import Trained, finish, new_history, require_every_class


def train_frozen(
    dataset: Dataset, recipe: Recipe, size: int, upscale: int, folder: Path, reporter: Reporter
) -> Trained:
    """Train a head on a frozen backbone that works at `size`, on a data set that is split."""
    backbone = backbones.build(recipe.model, size, upscale=upscale, weights=recipe.weights)
    depths = ("last", "all") if recipe.features == "auto" else (recipe.features,)
    networks = {depth: classifier.pooled_features(backbone, depth) for depth in depths}
    train, validation = _features(dataset, networks[depths[-1]], recipe, reporter)
    dataset = require_every_class(dataset.without([*train.failed, *validation.failed]))
    train_labels = np.array(label_numbers(train.pictures, dataset.classes))
    validation_labels = np.array(label_numbers(validation.pictures, dataset.classes))
    history = new_history(folder, recipe, reporter)
    fitted: dict[str, Fitted] = {}
    for depth, network in networks.items():
        width = _width(network)  # the deepest features stand last
        fitted[depth] = fit_head(
            [train.views[view][:, -width:] for view in recipe.views],
            train_labels,
            validation.views["original"][:, -width:],
            validation_labels,
            len(dataset.classes),
            recipe,
            history,
            f"head-{depth}",
        )
    best = depths[0]  # within two standard errors the simpler head; a small validation set would choose by chance
    losses = [calibrated_losses(fitted[depth].validation_logits, validation_labels) for depth in depths]
    if len(depths) > 1 and clearly_less(losses[1], losses[0], errors=2):
        best = depths[1]
    return finish(networks[best], fitted[best], validation_labels, dataset)


def _features(dataset: Dataset, network: Any, recipe: Recipe, reporter: Reporter) -> tuple[Features, Features]:
    """Of the train split in every view, and of the validation split as it is."""
    graph = classifier.features_to_onnx(network)
    runtime = available()[0]
    precision = training_precision(runtime)
    engine = open_engine(graph, ["embedding"], runtime=runtime, precision=precision)
    cache = FeatureCache(graph, f"{runtime} {precision}", _width(network))
    height, width = (int(side) for side in network.input.shape[1:3])

    def features(split: str, views: tuple[str, ...]) -> Features:
        return extract(
            dataset,
            dataset.of(split),
            engine,
            (height, width),
            width=_width(network),
            views=views,
            cache=cache,
            progress=reporter.stage(f"Computing features ({split})"),
            warn=reporter.warn,
        )

    train, validation = features("train", recipe.views), features("validation", ("original",))
    cache.make_room()
    return train, validation


def _width(network: Any) -> int:
    return int(network.outputs[1].shape[-1])
