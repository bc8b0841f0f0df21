"""The ladder: the best model that the time buys, rung by rung.

A linear probe and a head on a frozen backbone come first, then a stronger frozen backbone, then fine-tuning: of the deepest
layers, of all of them, and of all for longer. A rung is climbed where its forecast fits into the time that is left. Validation
judges each against the best so far, image by image, and the best ships.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from whatsit.files import write_text
from whatsit.images.views import FLIP, ORIGINAL
from whatsit.models.backbones import STRONGER
from whatsit.training import forecast
from whatsit.training.calibration import clearly_less
from whatsit.training.clock import duration
from whatsit.training.context import Context
from whatsit.training.finetune import STAGE, tune
from whatsit.training.frozen import FrozenHead, Looked, fit_heads, look, pace_of
from whatsit.training.loop import TrainingError
from whatsit.training.probe import fit_probe
from whatsit.training.recipe import Recipe, load
from whatsit.training.resolve import ALL
from whatsit.training.trained import Trained

# Shares of the time that is left, at most.
HEADS = 0.15  # for the heads on frozen features, where fine-tuning may follow
BOTH_SIDES = 0.12  # for the features of images and mirror images
STRONGER_STEP = 0.2  # for a stronger backbone, where all layers can be tuned afterwards
DEEPEST_STEP = 0.1  # for the deepest layers, where all can be tuned afterwards
LAST_STEP = 0.8  # for either where they cannot

ENOUGH = 3  # epochs of all layers, below which only the deepest are tuned
MOST = 30  # epochs of all layers, on the first of its rungs
LONGER = 3  # times as many epochs on the last rung
AUGMENTED_FROM = 5  # epochs, which learn images by heart
MIRRORED = 2.0  # standard errors by which mirror images must be harder to be left out
SHORTEST = 20.0  # seconds that are worth a rung

# What few images are not learned by heart with, measured on traffic signs and flowers (docs/training-notes.md).
AUGMENTED: dict[str, Any] = {
    "rotation": 15.0,
    "shift": 0.1,
    "zoom": 0.2,
    "shear": 0.1,
    "rand_augment": 15.0,
    "label_smoothing": 0.1,
    "finetune_learning_rate": 0.0008,
}


@dataclass
class Base:
    """A frozen backbone on which fine-tuning can begin."""

    looked: Looked
    recipe: Recipe
    pace: float  # seconds to compute the features of an image
    seconds: float  # that the rung took

    @property
    def images(self) -> int:
        """The number of training images."""
        return len(self.looked.seen.labels)

    def epoch(self) -> float:
        """Return the forecast seconds of an epoch of all layers."""
        return forecast.epoch_of_all(self.pace, self.images, len(self.looked.seen.held_labels))


def climb(context: Context) -> Trained:
    """Train the best classifier that the time allows.

    Without a time limit every rung is climbed. Ctrl-C ends the climb, and the best so far is returned; before there is any it
    is a `KeyboardInterrupt`. Raises `TrainingError` where the time is too short for the first rung.
    """
    return _Climb(replace(context, brief=False, complete=False)).run()


class _Climb:
    def __init__(self, context: Context) -> None:
        self._context, self._clock = context, context.clock
        self._note = context.checkpoint("ladder.json")
        self._decisions: dict[str, bool] = {}
        if self._note.is_file():
            self._decisions = json.loads(self._note.read_text(encoding="utf-8"))
        self._best: Trained | None = None

    def run(self) -> Trained:
        base = self._first()
        assert self._best is not None
        try:
            base = self._stronger(base)
            self._deepest(base)
            if self._whole(base):
                self._longer(base)
        except KeyboardInterrupt:
            self._context.reporter.say("Interrupted: the best so far is kept and tested; Ctrl-C again stops that too")
        return replace(self._best, history=tuple(self._context.history.entries))

    def _first(self) -> Base:
        """Fit the heads on the default backbone."""
        recipe = self._recipe("fast")
        if not self._context.recipe.flip:
            recipe = replace(recipe, views=(ORIGINAL,))
        base = self._look(recipe, "")
        self._fit_heads(base, "fast")
        return base

    def _stronger(self, base: Base) -> Base:
        """Fit the heads on a stronger backbone; return it where it is better."""
        seconds = forecast.STRONGER_COST * base.seconds + forecast.BUILD / 2
        tuned = 0.0
        if self._epochs_of_all(base) < ENOUGH and self._fits(forecast.deepest(base.pace, base.images)):
            tuned = forecast.deepest(forecast.STRONGER_COST * base.pace, base.images)  # comes next
        share = STRONGER_STEP if self._epochs_of_all(base) >= ENOUGH else LAST_STEP
        if not self._decide("stronger", lambda: seconds + tuned <= share * self._clock.left()):
            return base
        other = self._look(replace(base.recipe, model=STRONGER), "stronger-")
        better = self._fit_heads(other, "a stronger frozen backbone")
        return other if better else base

    def _look(self, recipe: Recipe, prefix: str) -> Base:
        """Let a frozen backbone look at the images."""
        started = time.perf_counter()
        context = self._context.prepared(recipe, stage_prefix=prefix)
        pace = pace_of(context)
        both = forecast.DECODING * pace * 2 * len(context.dataset.of("train"))
        if not self._decide("both-sides", lambda: both <= BOTH_SIDES * self._clock.left()):
            context = replace(context, recipe=replace(context.recipe, views=(ORIGINAL,)))
        looked = look(context, 0.9, (ORIGINAL, FLIP) if self._context.recipe.flip else ())
        return Base(looked, recipe, pace, time.perf_counter() - started)

    def _fit_heads(self, base: Base, name: str) -> bool:
        """Fit and judge the heads on frozen features; return whether they are the best."""
        tunable = self._clock.limited and self._clock.left() > forecast.BUILD + base.epoch()
        looked = replace(base.looked, clock=self._clock.part(HEADS)) if tunable else base.looked
        return self._judge(name, fit_heads(looked).trained)

    def _deepest(self, base: Base) -> None:
        """Tune the deepest layers, on the cached features of those before."""
        seconds = forecast.deepest(base.pace, base.images)
        share = DEEPEST_STEP if self._epochs_of_all(base) >= ENOUGH else LAST_STEP
        if self._decide("deepest", lambda: seconds <= share * self._clock.left()):
            self._tune(base, "deepest", "the deepest layers tuned", finetune_layers=20)

    def _whole(self, base: Base) -> bool:
        """Tune all layers; return whether that was done."""
        if not self._decide("all", lambda: self._epochs_of_all(base) >= ENOUGH):
            return False
        many = self._decide("augmented", lambda: self._epochs_of_all(base) >= AUGMENTED_FROM)
        self._tune(base, "all", "all layers tuned", **_of_all(MOST), **(AUGMENTED if many else {}))
        return True

    def _longer(self, base: Base) -> None:
        """Tune all layers for longer, in the time that is left."""
        if self._decide("longer", lambda: self._epochs_of_all(base) >= MOST and self._clock.left() >= SHORTEST):
            self._tune(base, "longer", "all layers tuned for longer", **_of_all(LONGER * MOST), **AUGMENTED)

    def _fits(self, seconds: float) -> bool:
        """Return whether the deepest layers can be tuned, as the last rung."""
        return seconds <= LAST_STEP * self._clock.left()

    def _epochs_of_all(self, base: Base) -> float:
        """Return the forecast number of epochs of all layers in the time that is left."""
        return (self._clock.left() - forecast.BUILD) / max(base.epoch(), 1e-9)

    def _tune(self, base: Base, rung: str, name: str, **changes: Any) -> None:
        """Fine-tune on a linear head, and judge what comes out."""
        recipe = replace(self._recipe("finetune"), model=base.recipe.model, size=base.looked.context.size, **changes)
        if not self._mirrors(base):
            recipe = replace(recipe, flip=False, test_time_flip=False, views=(ORIGINAL,))
        else:
            recipe = replace(recipe, views=base.looked.context.recipe.views)
        context = replace(base.looked.context, recipe=recipe, stage_prefix=f"{rung}-")
        stage = context.checkpoint(f"{rung}-{STAGE}.npz")
        try:
            head = fit_heads(replace(base.looked, context=context, clock=self._clock.part(HEADS)))
            self._judge(name, self._tuned(head, stage.is_file))
        except TrainingError as error:
            self._context.reporter.warn(f"{name}: {error}; what was best before is kept")

    def _tuned(self, head: FrozenHead, has_epochs: Callable[[], bool]) -> Trained:
        """Fine-tune; where Ctrl-C ends that, judge the best of its epochs so far."""
        try:
            return tune(head)
        except KeyboardInterrupt:
            if not has_epochs():
                raise
            self._clock.stop()
            return tune(head)

    def _mirrors(self, base: Base) -> bool:
        """Return whether a mirror image means the same as the image.

        A linear probe of the images says so: where it is clearly less often right about mirrored validation images, they mean
        something else, as letters, digits and traffic signs do.
        """
        if not self._context.recipe.flip:
            return False
        return self._decide("mirrors", lambda: not self._mirrored_is_harder(base))

    def _mirrored_is_harder(self, base: Base) -> bool:
        seen = base.looked.seen
        if FLIP not in seen.held:
            return False
        probe = fit_probe(
            (seen.train[ORIGINAL], seen.labels),
            (seen.held[ORIGINAL], seen.held_labels),
            len(base.looked.context.dataset.classes),
            base.recipe.seed,
        )
        wrong = [(probe.predict(seen.held[view]) != seen.held_labels).astype(float) for view in (ORIGINAL, FLIP)]
        harder = clearly_less(wrong[0], wrong[1], errors=MIRRORED)
        if harder:
            self._context.reporter.say(
                f"Mirror images are not used: of mirrored validation images {1 - wrong[1].mean():.1%} are predicted right, "
                f"of the others {1 - wrong[0].mean():.1%}"
            )
        return harder

    def _judge(self, name: str, trained: Trained) -> bool:
        """Hold a classifier against the best so far; return whether it is the best now."""
        best = self._best
        better = best is None or trained.improves_on(best)
        if better:
            self._best = best = trained
            if self._context.keep:
                self._context.keep(trained)
        left = f"; {duration(self._clock.left())} left for training" if self._clock.limited else ""
        verdict = (
            "the best so far" if better or not best else f"not better than the best so far, {best.right.mean():.1%}"
        )
        self._context.reporter.say(f"Rung '{name}': {trained.right.mean():.1%} right in validation, {verdict}{left}")
        return better

    def _decide(self, rung: str, choose: Callable[[], bool]) -> bool:
        """Return the decision, as an interrupted run took it before."""
        if rung not in self._decisions:
            self._decisions[rung] = choose()
            write_text(self._note, json.dumps(self._decisions) + "\n")
        return self._decisions[rung]

    def _recipe(self, name: str) -> Recipe:
        ours = self._context.recipe
        return replace(load(name), name=ours.name, seed=ours.seed)


def _of_all(epochs: int) -> dict[str, Any]:
    """Return the changes to the recipe for tuning all layers, for at most so many epochs."""
    return {"finetune_layers": ALL, "finetune_epochs": epochs}
