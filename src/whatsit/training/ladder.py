"""The ladder: the best model that the time buys, rung by rung.

A linear probe and a head on a frozen backbone come first, then a stronger frozen backbone, then fine-tuning: of the deepest
layers, of all of them, and of all for longer. A rung is climbed where its forecast fits into the time that is left. Validation
judges each against the best so far, image by image, and the best ships.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from whatsit.errors import WhatsitError
from whatsit.events import Event, Reporter, Work
from whatsit.files import write_text
from whatsit.images.views import FLIP
from whatsit.process import Interrupted, continue_after
from whatsit.training import forecast
from whatsit.training.clock import duration
from whatsit.training.context import Context
from whatsit.training.finetune import STAGE, tune
from whatsit.training.frozen import FrozenHead, fit_heads, look, pace_of, resized
from whatsit.training.recipe import Recipe
from whatsit.training.rungs import (
    BOTH,
    MOST_LAYERS,
    SMALLER,
    Base,
    frozen_recipe,
    mirrored_is_harder,
    of_all,
    one_sided,
    stronger,
    tuning_recipe,
)
from whatsit.training.subset import FEATURES_SHARE
from whatsit.training.trained import Trained

Decision = TypeVar("Decision")

# Shares of the time that is left, at most.
HEADS = 0.15  # for the heads on frozen features, where fine-tuning may follow
BOTH_SIDES = 0.12  # for the features of images and mirror images
STRONGER_STEP = 0.2  # for a stronger backbone, where all layers can be tuned afterwards
FROZEN_STEP = 0.05  # for a stronger backbone that stays frozen
DEEPEST_STEP = 0.1  # for the deepest layers, where all can be tuned afterwards
OVERDUE = 1.5  # times that share, at which the deepest layers are done in any case
LAST_STEP = 0.9  # for them where they cannot
FROZEN_SHARE = 0.9  # for a frozen backbone

FIRST, STRONGER = "fast", "a stronger frozen backbone"  # rungs of frozen backbones, by name

INTERRUPTED = "Interrupted: the best so far is kept and tested; Ctrl-C again stops that too"
MOST = 30  # epochs of all layers, on the first of its rungs
LONGER = 3  # times as many epochs on the last rung


def climb(context: Context) -> Trained:
    """Train the best classifier that the time allows.

    Without a time limit every rung is climbed. Ctrl-C ends the climb, and the best so far is returned; before there is any it
    is a `KeyboardInterrupt`. Raises `TrainingError` where the time is too short for the first rung.
    """
    return _Climb(replace(context, brief=False, complete=False)).run()


class _Status(Reporter):
    """A reporter that adds the best accuracy so far and the time left."""

    def __init__(self, inner: Reporter, status: Callable[[], str]) -> None:
        self._inner, self._status = inner, status

    def emit(self, event: Event) -> None:
        self._inner.emit(event)

    def stage(self, name: str, work: Work = Work.OTHER, split: str = "") -> Callable[[int, int], None]:
        return self._inner.stage(name + self._status(), work, split)


class _Climb:
    def __init__(self, context: Context) -> None:
        context.history.reporter = _Status(context.reporter, self._status)
        self._context, self._clock = replace(context, reporter=context.history.reporter), context.clock
        self._note = context.checkpoint("ladder.json")
        self._decisions: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError, TypeError):  # without it, or damaged, it is decided again
            self._decisions = dict(json.loads(self._note.read_text(encoding="utf-8")))
        self._best: Trained | None = None
        self._bases: list[Base] = []  # the better one last
        self._judged: list[tuple[str, bool]] = []  # each rung, and whether it was the best so far

    def run(self) -> Trained:
        base = self._first()
        assert self._best is not None
        try:
            self._stronger(base)
            self._deepest(self._bases[-1])
            if self._all():
                self._longer()
        except (KeyboardInterrupt, Interrupted) as interrupt:
            continue_after(interrupt)
            self._context.reporter.say(INTERRUPTED)
        return replace(self._best, history=tuple(self._context.history.entries), ships=self._ships())

    def _first(self) -> Base:
        """Fit the heads on the default backbone."""
        base = self._look(frozen_recipe(self._context.recipe), "")
        if FLIP in base.looked.context.recipe.views and not self._mirrors(base):
            base = base.one_sided()
        self._bases.append(base)
        self._fit_heads(base, FIRST)
        return base

    def _stronger(self, base: Base) -> None:
        """Fit the heads on a stronger backbone."""
        seconds = base.stronger()
        if self._decide("stronger", lambda: self._is_worth(base, seconds)):
            with self._failing(STRONGER):
                other = self._look(stronger(base.recipe), "stronger-", complete=True)
                before = self._best
                found = self._fit_heads(other, STRONGER)
                if not (before and before.improves_on(found)):  # where validation cannot tell, it is the better bet
                    self._bases.append(other)

    def _is_worth(self, base: Base, seconds: float) -> bool:
        """Return whether there is time for a stronger backbone.

        It must be cheap, or there must be time to tune it, or for nothing else.
        """
        left, plan = self._clock.left(), self._plan()
        if not plan or seconds <= FROZEN_STEP * left:
            # What follows training takes longer with it, too.
            left -= (forecast.STRONGER_COST - 1) * self._clock.reserved
            return seconds - forecast.OPEN <= FEATURES_SHARE * FROZEN_SHARE * (left - forecast.OPEN)
        # At a smaller size it would not be preferred: see `_plan`.
        epoch = forecast.STRONGER_COST * base.epoch(plan["size"], MOST_LAYERS)
        return seconds <= STRONGER_STEP * left and left - seconds - base.around(plan["size"]) >= base.good * epoch

    def _look(self, recipe: Recipe, prefix: str, *, complete: bool = False) -> Base:
        """Let a frozen backbone look at the images; `complete` is at all of them."""
        context = self._context.prepared(recipe, stage_prefix=prefix, complete=complete)
        pace = pace_of(context)
        both = pace.look(len(context.dataset.of("train")), 2)
        if not self._decide(f"{prefix}both-sides", lambda: both <= BOTH_SIDES * self._clock.left()):
            context = replace(context, recipe=one_sided(context.recipe))
        looked = look(context, FROZEN_SHARE, BOTH if FLIP in recipe.views else ())
        return Base(looked, recipe, pace)

    def _fit_heads(self, base: Base, name: str) -> Trained:
        """Fit and judge the heads on frozen features; return the best of them."""
        tunable = self._clock.limited and self._plan() is not None
        looked = replace(base.looked, clock=self._clock.part(HEADS)) if tunable else base.looked
        trained = fit_heads(looked).trained
        base.accuracy = float(trained.right.mean())
        self._judge(name, trained)
        return trained

    def _deepest(self, base: Base) -> None:
        """Tune the deepest layers, on the cached features of those before."""
        seconds = forecast.deepest(base.pace, base.images, base.held)
        plan = self._plan()
        share = DEEPEST_STEP if plan else LAST_STEP
        if self._decide("deepest", lambda: seconds <= share * self._clock.left()):
            # However wrong the forecast is, the time for all layers stays theirs.
            clock = self._clock.part(OVERDUE * DEEPEST_STEP) if plan and self._clock.limited else self._clock
            context = replace(base.looked.context, clock=clock)
            self._tune(base, context, "deepest", "the deepest layers tuned", finetune_layers=20)

    def _all(self) -> bool:
        """Tune all layers; return whether that was done."""
        plan = self._planned("all")
        if plan:
            base = self._bases[plan["base"]]
            self._tune(base, base.at(plan["size"]), "all", "all layers tuned", **of_all(plan, base, MOST))
        return bool(plan)

    def _longer(self) -> None:
        """Tune all layers for longer, in the time that is left."""
        plan = self._planned("longer")
        if plan and plan["epochs"] >= MOST:
            base = self._bases[plan["base"]]
            name = "all layers tuned for longer"
            self._tune(base, base.at(plan["size"]), "longer", name, **of_all(plan, base, LONGER * MOST))

    def _planned(self, rung: str) -> dict[str, Any] | None:
        """Return the plan of a rung, as an interrupted run had it.

        It is made again where its backbone is not there now.
        """
        plan = self._decide(rung, self._plan)
        if plan and plan["base"] >= len(self._bases):
            del self._decisions[rung]
            plan = self._decide(rung, self._plan)
        return plan

    def _plan(self) -> dict[str, Any] | None:
        """Return backbone and size at which all layers can be tuned; None without time.

        A better backbone goes before a larger size, and many epochs before both.
        """
        left = self._clock.left()
        plans = [
            {"base": number, "size": size, "share": share, "epochs": base.epochs(left, size, share)}
            for place in range(len(SMALLER) + 1)
            for number, base in reversed([*enumerate(self._bases)])
            for size in base.sizes()[place : place + 1]
            for share in (1.0, MOST_LAYERS)
        ]
        good = [plan for plan in plans if plan["epochs"] >= self._bases[0].good]
        most = max(plans, key=lambda plan: float(plan["epochs"]))
        if good:
            return good[0]
        return most if most["epochs"] >= self._bases[0].enough else None

    def _tune(self, base: Base, context: Context, rung: str, name: str, **changes: Any) -> None:
        """Fine-tune on a linear head, and judge what comes out."""
        stage = context.checkpoint(f"{rung}-{STAGE}.npz")
        with self._failing(name):
            recipe = replace(tuning_recipe(base, mirrors=self._mirrors(base)), size=context.size, **changes)
            unmoved = replace(recipe, test_time_shift=0.0)  # of moved views there are no features
            at_first = replace(base.looked.context, recipe=unmoved, stage_prefix=f"{rung}-")
            head = fit_heads(replace(base.looked, context=at_first, clock=self._clock.part(HEADS)))
            context = replace(context, recipe=recipe, stage_prefix=at_first.stage_prefix)
            self._judge(name, self._tuned(resized(head, context), stage.is_file))

    @contextlib.contextmanager
    def _failing(self, name: str) -> Iterator[None]:
        """Report a rung that fails, for whatever reason; the best before stays it."""
        try:
            yield
        except Exception as error:
            why = str(error) if isinstance(error, WhatsitError) else f"{type(error).__name__} {error}".strip()
            if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's
                why = "there is too little memory for it"
            self._context.reporter.warn(f"{name}: {why}; what was best before is kept")

    def _tuned(self, head: FrozenHead, has_epochs: Callable[[], bool]) -> Trained:
        """Fine-tune; where Ctrl-C ends that, judge the best of its epochs so far."""
        try:
            return tune(head)
        except (KeyboardInterrupt, Interrupted) as interrupt:
            if not has_epochs():
                raise
            continue_after(interrupt)
        # Outside of the handler, which would hold the images and the network of the training that was ended.
        self._context.reporter.say(INTERRUPTED)
        self._clock.stop()
        head.context.clock.stop()
        return tune(head)

    def _mirrors(self, base: Base) -> bool:
        """Return whether mirror images are used."""
        if not self._context.recipe.flip:
            return False
        return self._decide("mirrors", lambda: not mirrored_is_harder(base))

    def _judge(self, name: str, trained: Trained) -> None:
        """Hold a classifier against the best so far; keep the better one."""
        best = self._best
        better = best is None or trained.improves_on(best)
        self._judged.append((name, better))
        if better:
            self._best = best = trained
            if self._context.keep:
                self._context.keep(trained)
        left = f"; {duration(self._clock.left())} left for training" if self._clock.limited else ""
        verdict = (
            "the best so far"
            if better or not best
            else f"not clearly better than the best so far, {best.right.mean():.1%}"
        )
        self._context.reporter.say(f"Rung '{name}': {trained.right.mean():.1%} right in validation, {verdict}{left}")

    def _ships(self) -> str:
        """Say which rung ships, and which were not clearly better."""
        assert self._best is not None
        best = [name for name, better in self._judged if better][-1]
        others = [name for name, better in self._judged if not better]
        model = self._best.recipe.model
        text = f"a head on the frozen {model}" if best in (FIRST, STRONGER) else f"{model} with {best}"
        if not others:
            return text
        names = " and ".join(filter(None, (", ".join(others[:-1]), others[-1])))
        return f"{text}; {names} {'was' if len(others) == 1 else 'were'} not clearly better in validation"

    def _status(self) -> str:
        best = f"best so far {self._best.right.mean():.1%}" if self._best else ""
        left = f"{duration(self._clock.left())} left" if self._clock.limited else ""
        return "".join(f", {part}" for part in (best, left) if part)

    def _decide(self, what: str, choose: Callable[[], Decision]) -> Decision:
        """Return the decision, as an interrupted run took it before."""
        if what not in self._decisions:
            if self._clock.stopped:  # by Ctrl-C: a resumed climb has its time again
                return choose()
            self._decisions[what] = choose()
            write_text(self._note, json.dumps(self._decisions) + "\n")
        decision: Decision = self._decisions[what]
        return decision
