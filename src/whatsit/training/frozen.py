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
from whatsit.training.recipe import Recipe, working_size
from whatsit.training.trained import Trained, finish, new_history, require_every_class
from whatsit.training.unknown import enough_rows, fit_mahalanobis


def train_frozen(
    dataset: Dataset, recipe: Recipe, size: int, upscale: int, folder: Path, reporter: Reporter
) -> Trained:
    """Train a head on a frozen backbone that works at `size`, on a data set that is split."""
    backbone = backbones.build(recipe.model, size, upscale=upscale, weights=recipe.weights)
    depths = ("last", "all") if recipe.features == "auto" else (recipe.features,)
    networks = {depth: classifier.pooled_features(backbone, depth) for depth in depths}
    frozen = FrozenNetwork(networks[depths[-1]])
    train = frozen.features(dataset, "train", recipe.views, reporter)
    validation = frozen.features(dataset, "validation", ("original",), reporter)
    frozen.make_room()
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
    rows = enough_rows(train_labels, len(dataset.classes), recipe.seed)
    embedding = train.views["original"][rows, -_width(networks[best]) :]
    del train
    known = fit_mahalanobis(embedding, train_labels[rows], len(dataset.classes), recipe.seed)
    return finish(networks[best], fitted[best], validation_labels, dataset, history, known, frozen)


class FrozenNetwork:
    """A frozen network as a fast function of a data set's pictures, whose results are kept on disk."""

    def __init__(self, network: Any) -> None:
        """Open `pooled_features`, in the fastest precision of this machine."""
        graph = classifier.features_to_onnx(network)
        runtime = available()[0]
        precision = training_precision(runtime)
        self.width = _width(network)
        self._engine = open_engine(graph, ["embedding"], runtime=runtime, precision=precision)
        self._cache = FeatureCache(graph, f"{runtime} {precision}", self.width)
        self._size = tuple(int(side) for side in network.input.shape[1:3])

    def features(self, dataset: Dataset, split: str, views: tuple[str, ...], reporter: Reporter) -> Features:
        """Of the pictures of one split."""
        return extract(
            dataset,
            dataset.of(split),
            self._engine,
            (self._size[0], self._size[1]),
            width=self.width,
            views=views,
            cache=self._cache,
            progress=reporter.stage(f"Computing features ({split})"),
            warn=reporter.warn,
        )

    def make_room(self) -> None:
        """Keep the folder of features within its limit."""
        self._cache.make_room()


def default_network(side: int) -> FrozenNetwork:
    """The backbone whose weights come along, for pictures whose longer side is `side`."""
    recipe = Recipe()
    size, upscale = working_size(recipe, side)
    return FrozenNetwork(classifier.pooled_features(backbones.build(recipe.model, size, upscale=upscale)))


def _width(network: Any) -> int:
    return int(network.outputs[1].shape[-1])
