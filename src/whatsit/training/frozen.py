"""The `fast` way: a head trained on the cached features of a frozen backbone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from whatsit.arrays import Bools, Labels
from whatsit.images.batches import decode_batches
from whatsit.images.stored_arrays import take_rows
from whatsit.models.backbones import BACKBONES
from whatsit.models.network import Network
from whatsit.models.opening import open_backbone, stamp_of
from whatsit.training import forecast
from whatsit.training.calibration import beats, calibrated_losses, clearly_less
from whatsit.training.clock import Clock
from whatsit.training.context import Context, some_of
from whatsit.training.features import FrozenNetwork
from whatsit.training.head import Head, Seen, fit_head, fit_probe_head
from whatsit.training.history import LOGGED
from whatsit.training.recipe import Recipe
from whatsit.training.resolve import tuned_layers
from whatsit.training.subset import choose_images
from whatsit.training.trained import Trained, finish
from whatsit.training.trainer import Fitted
from whatsit.training.unknown import FEW, MAX_PICTURES, enough_rows, fit_mahalanobis

MOST_OPEN = 4  # networks
READ, READING = 32, 1.0  # images, and seconds, by which reading is measured
EVEN = 2  # the largest class is at most this many times the smallest


@dataclass(frozen=True)
class FrozenHead:
    """A frozen backbone with a fitted head."""

    context: Context  # without unreadable images
    network: Network
    fitted: Fitted
    train_labels: Labels
    validation_labels: Labels
    trained: Trained

    @property
    def features(self) -> Any:
        """Return the Keras model from `image` to (feature_map, embedding)."""
        return self.network.model  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Looked:
    """A frozen backbone that has looked at the images, up to each depth."""

    context: Context  # without unreadable images
    networks: Mapping[str, Network]  # up to each depth, the deepest last
    frozen: FrozenNetwork  # the last of them
    seen: Seen
    clock: Clock  # of the features and the heads on them


def train_frozen(context: Context, share: float = 0.9) -> FrozenHead:
    """Train a head on a frozen backbone, in that share of the time that is left."""
    looked = look(context, share)
    head = fit_heads(looked)
    if context.clock.limited or context.brief or context.recipe.model not in BACKBONES:
        return head
    unlike = head.network is not looked.networks.get("last", head.network)
    pace = looked.frozen.seconds_per_image
    more = forecast.more_time(head.trained.right, pace, len(head.train_labels), unlike=unlike)
    return replace(head, trained=replace(head.trained, more_time=more))


def pace_of(context: Context) -> forecast.Pace:
    """Measure the seconds to read an image, and to compute its features."""
    features = _networks(context, _depths(context.recipe))[1].seconds_per_image()
    some, seen, started = some_of(context.dataset, "train", READ, context.recipe.seed), 0, time.perf_counter()
    for batch in decode_batches(some, context.dataset.read, context.input_size, batch_size=8):
        seen += len(batch.lot)
        if time.perf_counter() - started > READING:
            break
    return forecast.Pace((time.perf_counter() - started) / max(seen, 1), features)


def _depths(recipe: Recipe) -> tuple[str, ...]:
    return ("last", "all") if recipe.features == "auto" else (recipe.features,)


def look(context: Context, share: float, more_views: tuple[str, ...] = ()) -> Looked:
    """Compute the features of the images that fit into that share of the time.

    `more_views` are views of the validation images beside those that the recipe predicts by.
    """
    depths = _depths(context.recipe)
    networks, frozen = _networks(context, depths)
    deepest = [*networks.values()][-1]
    context.reserve(deepest)
    held_views = (*context.test_views, *(view for view in more_views if view not in context.test_views))
    context, clock = choose_images(context, frozen, share, held_views), context.clock.part(share)
    train = frozen.features(context.dataset, "train", context.recipe.views, context.reporter)
    held = frozen.features(context.dataset, "validation", held_views, context.reporter)
    context = context.without([*train.failed, *held.failed])
    seen = Seen(train.views, context.labels(train.pictures), held.views, context.labels(held.pictures))
    return Looked(context, networks, frozen, seen, clock)


def fit_heads(looked: Looked) -> FrozenHead:
    """Fit a head at each depth of the recipe, and a linear probe; keep the best."""
    context, seen, clock = looked.context, looked.seen, looked.clock
    depth = context.recipe.features
    networks = {name: network for name, network in looked.networks.items() if depth in ("auto", name)}
    heads: list[Head] = []
    for name, network in networks.items():
        ours = clock.part(1.0 / (len(networks) - len(heads))) if clock.limited else None
        heads.append(fit_head(context, name, network, seen, ours))
    best = heads[0]  # within a standard error the simpler head; a small validation set would choose by chance
    losses = [calibrated_losses(head.logits, seen.held_labels) for head in heads]
    if len(heads) > 1 and clearly_less(losses[1], losses[0], errors=1):
        best = heads[1]
    rival = None if context.brief else fit_probe_head(context, [*networks.values()][-1], seen)
    notes: tuple[str, ...] = ()
    counts = np.bincount(seen.labels, minlength=len(context.dataset.classes))
    easily = counts.max() <= EVEN * counts.min() and not tuned_layers(context.recipe, len(seen.labels))
    if rival and takes_probe(rival.right(seen), best.right(seen), easily=easily):
        notes = _ship_the_probe(context, rival, best, seen)
        best = rival
    classes, seed = len(context.dataset.classes), context.recipe.seed
    rows = enough_rows(seen.labels, classes, seed, FEW if context.brief else MAX_PICTURES)
    embedding = take_rows(seen.train["original"][:, -best.network.width :], rows)
    known = fit_mahalanobis(embedding, seen.labels[rows], classes, seed)
    probe = rival.fitted.best["val_accuracy"] if rival else None
    frozen = looked.frozen
    trained = finish(context, best.network, best.fitted, seen.held_labels, best.logits, known, frozen, probe)
    trained = replace(trained, notes=notes)
    return FrozenHead(context, best.network, best.fitted, seen.labels, seen.held_labels, trained)


def takes_probe(probe: Bools, head: Bools, *, easily: bool) -> bool:
    """Return whether a linear probe ships rather than the trained head.

    Both are bool `[N]`, whether each validation image is predicted right. Where classes are even and no layers are tuned on it
    (`easily`) the probe need only be right more often. Else clearly so: it weighs no classes, and finds rare ones less often.
    """
    return bool(probe.mean() > head.mean()) if easily else beats(probe, head)


def resized(head: FrozenHead, context: Context) -> FrozenHead:
    """Return the head on the same backbone at the size of a context."""
    if head.context.size == context.size:
        return replace(head, context=context)
    return replace(head, context=context, network=_networks(context, ("last",))[0]["last"])


# The latest few, for the next training.
_OPEN: dict[tuple[object, ...], tuple[Mapping[str, Network], FrozenNetwork]] = {}


def _networks(context: Context, depths: tuple[str, ...]) -> tuple[Mapping[str, Network], FrozenNetwork]:
    """Return the frozen network up to each depth, the deepest opened.

    The latest few are built only once.
    """
    import keras

    recipe = context.recipe
    stamp = stamp_of(recipe.model, recipe.weights), recipe.seed if recipe.weights == "none" else 0
    key = (recipe.model, recipe.weights, stamp, context.size, context.upscale, depths)
    if key not in _OPEN:
        opened = open_backbone(recipe.model, recipe.weights, context.size, context.upscale, depths)
        while len(_OPEN) >= MOST_OPEN:
            _OPEN.pop(next(iter(_OPEN)))
        _OPEN[key] = opened.networks, FrozenNetwork.of_model([*opened.networks.values()][-1])
        if opened.note:
            context.reporter.say(opened.note)
    keras.utils.set_random_seed(recipe.seed)  # a head begins alike, whether its network was built now or before
    return _OPEN[key]


def _ship_the_probe(context: Context, probe: Head, head: Head, seen: Seen) -> tuple[str, ...]:
    """Add the probe to the history as an epoch of its own, and return a note of it."""
    best, right = probe.fitted.best, float(head.right(seen).mean())
    context.history.add(best["stage"], 1, {key: best[key] for key in LOGGED}, 0.0, 1)
    note = note_of_probe(best["val_accuracy"], right)
    context.reporter.say(note)
    return (note,)


def note_of_probe(probe: float, head: float) -> str:
    """Say that the probe ships instead of the head, by their validation accuracies."""
    return (
        f"The last layer was fitted in two ways, and the better one is taken: fitted in one step (a linear probe), it is right "
        f"for {probe:.1%} of the validation images; trained epoch by epoch, for {head:.1%}. Nothing needs to be done"
    )
