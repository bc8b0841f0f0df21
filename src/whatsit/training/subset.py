"""The images and views whose features fit into the time."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np

from whatsit.arrays import Int64
from whatsit.files import write_text
from whatsit.images.pictures import Pictures
from whatsit.training.clock import duration
from whatsit.training.context import Context
from whatsit.training.features import FrozenNetwork
from whatsit.training.loop import TrainingError

SAMPLE = 64  # images by which the pace is measured
FEWEST = 10  # training images a class, below which a model is not worth its time
ENOUGH, MANY = 0.5, 2000  # the share and the number of training images, below both of which the report is left out
FEATURES_SHARE = 0.7  # of the time for a frozen backbone, at most, that its features may take


def choose_images(context: Context, frozen: FrozenNetwork, share: float, held_views: tuple[str, ...]) -> Context:
    """Return the context with the images and views that fit into that share of time.

    `held_views` are those of validation images.

    An interrupted run keeps what it chose before.
    """
    path = context.checkpoint(f"{context.stage_prefix}pictures.json")
    if not path.is_file():
        context = _within_time(context, frozen, share, held_views)
        if not context.clock.limited:
            return context
        kept = [key.hex() for key in context.dataset.of("train").digests()]
        chosen = {"views": context.recipe.views, "train": kept, "report": not context.clock.without_report}
        write_text(path, json.dumps(chosen) + "\n")
        return context
    chosen = json.loads(path.read_text(encoding="utf-8"))
    if not chosen.get("report", True):
        context.clock.leave_out_report()
    return _with_pictures(context, set(chosen["train"]), tuple(chosen["views"]))


def _with_pictures(context: Context, train: set[str], views: tuple[str, ...]) -> Context:
    pictures = context.dataset.pictures
    chosen = pictures.take(~pictures.where("train") | pictures.among(map(bytes.fromhex, train)))
    return replace(
        context, dataset=replace(context.dataset, pictures=chosen), recipe=replace(context.recipe, views=views)
    )


def _within_time(context: Context, frozen: FrozenNetwork, share: float, held_views: tuple[str, ...]) -> Context:
    """Forecast the time of the features; where it is too long, take fewer images.

    Views go before images.
    """
    train, views = context.dataset.of("train"), context.recipe.views
    held = frozen.missing(context.dataset.of("validation"), held_views)
    missing = frozen.missing(train, views) + held
    if not missing or (missing <= SAMPLE and not context.clock.limited):
        return context  # sooner computed than forecast
    order = np.random.default_rng(context.recipe.seed).permutation(len(train))
    sample = train.take(order[:SAMPLE])
    started = time.perf_counter()
    frozen.uncached(context.dataset, sample, views)
    per_view = (time.perf_counter() - started) / (len(sample) * len(views))
    needed = per_view * missing

    def allowed() -> float:
        return FEATURES_SHARE * share * context.clock.left()

    enough = per_view * (min(ENOUGH * len(train), MANY) + held)
    if allowed() < min(needed, enough) and not context.complete and context.clock.leave_out_report():
        context.reporter.warn(
            "the time limit is too short for the report: it is left out, as the training pictures need that time; give more time "
            "to have both"
        )
    if needed <= allowed():
        context.clock.tell("Computing features", needed)
        return context
    pictures, fewest = int(allowed() / per_view) - held, min(len(train), FEWEST * len(context.dataset.classes))
    if context.complete:
        raise TrainingError(
            f"too little time is left to look at the pictures at {context.size} pixels: about {duration(needed)}"
        )
    if pictures < fewest:
        left = duration(context.clock.left())
        raise TrainingError(
            f"the time limit is too short: beside what the test will take, {left} are left, "
            f"and the features of {fewest:,} training pictures and of those for validation take about "
            f"{duration(per_view * (fewest + held))} on this machine; give more time"
        )
    kept = {key.hex() for key in train.take(_of_every_class(train, order)[:pictures]).digests()}
    if not context.brief:
        context.reporter.warn(
            f"the time limit is short for these pictures: {len(kept):,} of {len(train):,} training pictures are used"
            + (", and no mirror images" if len(views) > 1 else "")
        )
    return _with_pictures(context, kept, ("original",))


def _of_every_class(pictures: Pictures, order: Int64) -> Int64:
    """Return the order, with an image of each class moved to its front."""
    first = np.sort(np.unique(pictures.labels[order], return_index=True)[1])
    return np.concatenate([order[first], np.delete(order, first)])
