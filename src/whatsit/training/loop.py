"""The training loop: every epoch is validated, recorded and saved.

An interrupted run continues where it stood.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from whatsit.arrays import Labels
from whatsit.errors import WhatsitError
from whatsit.events import Work
from whatsit.run_files import CHECKPOINTS
from whatsit.training import checkpoint
from whatsit.training.batches import Batches, ahead
from whatsit.training.calibration import calibrated_losses, clearly_less, log_losses
from whatsit.training.checkpoint import State
from whatsit.training.clock import Clock, Pace, Plan
from whatsit.training.history import CHOSEN_BY, History
from whatsit.training.recipe import Recipe
from whatsit.training.trainer import Fitted, Trainer, in_slices

if TYPE_CHECKING:
    import keras

SELDOM = 10.0  # seconds


class TrainingError(WhatsitError):
    """Training went wrong in a way that another recipe may cure."""


@dataclass(frozen=True)
class Task:
    """A stage of training: a model that ends in logits, its data and its validation."""

    stage: str  # its name in the history
    model: keras.Model
    batches: Batches
    validation: npt.NDArray[Any]  # inputs, first axis N
    validation_labels: Labels  # [N]
    rate: tuple[str, float] | None = None  # the learning rate's key and value as the user knows them, for advice
    rarely: bool = False  # what a `kill -9` would lose is soon made again: it is saved every `SELDOM` seconds only

    def advice(self, recipe: Recipe) -> str:
        """Return what to try where the loss diverges."""
        key, value = self.rate or ("learning_rate", recipe.learning_rate)
        first = "--recipe finetune " if recipe.name == "best" else ""  # the ladder's own recipe takes no learning rate
        return f"try a lower learning rate than {value:g} ({first}--set {key}=...)"


def fit(task: Task, recipe: Recipe, history: History, clock: Clock | None = None) -> Fitted:
    """Train the model of a task, or finish its training; set it to its best epoch.

    With a clock, the machine's pace is measured first, the user gets a forecast, and the number of epochs fitted to the time
    that is left. Raises `TrainingError` where the loss is not finite in the first epoch.
    """
    path = history.folder / CHECKPOINTS / f"{task.stage}.npz"
    state = checkpoint.load(path)
    trainer = Trainer(task.model, recipe)
    history.restore(state.entries)
    if not state.plan:
        plan = Plan(recipe.epochs, task.batches.steps)
        if clock:
            plan = clock.plan(task.stage, plan.epochs, plan.steps, measure_pace(trainer, task))
        state.plan = vars(plan)
        checkpoint.save(state, path)
    elif state.variables:
        trainer.restore(state.variables)
        if clock and not state.done:
            clock.go_on(task.stage, len(state.entries), state.plan["epochs"])
    saved = time.perf_counter()
    if clock and clock.stopped:
        if not state.best_weights:
            raise TrainingError("it was stopped before its first epoch was over")
        state.done = True
    advance = None if state.done else history.reporter.stage(f"Training ({task.stage})", Work.TRAINING)
    while advance and not state.done:
        _one_epoch(trainer, task, recipe, history, state, clock, advance)
        if state.done and not state.best_weights:
            raise TrainingError(f"the loss became infinite or not a number in the first epoch; {task.advice(recipe)}")
        if task.rarely and time.perf_counter() - saved < SELDOM:
            continue
        state.variables = [] if state.done else trainer.variables()
        checkpoint.save(state, path)
        saved = time.perf_counter()
    task.model.set_weights(state.best_weights)
    return Fitted(task.model, state.best, state.best_logits)


def _one_epoch(
    trainer: Trainer,
    task: Task,
    recipe: Recipe,
    history: History,
    state: State,
    clock: Clock | None,
    advance: Callable[[int, int], None],
) -> None:
    """Train, validate and record an epoch.

    `advance` takes the steps done and planned.
    """
    started = time.perf_counter()
    logs, rate = _learn(trainer, task, recipe, state, clock, advance)
    learnt = time.perf_counter()
    epoch = state.epoch
    with trainer.averaged():
        logits = in_slices(task.model, task.validation)
        losses = calibrated_losses(logits, task.validation_labels)
        logs["val_loss"] = float(log_losses(logits, task.validation_labels).mean())
        logs["val_accuracy"] = float((logits.argmax(axis=1) == task.validation_labels).mean())
        logs[CHOSEN_BY] = float(losses.mean())
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs[CHOSEN_BY]):
            if state.best_weights:
                history.reporter.warn(
                    f"the loss became infinite or not a number in epoch {epoch}; epoch {state.best['epoch']} is kept; "
                    f"{task.advice(recipe)}"
                )
            state.done = True
            return
        entry = history.add(task.stage, epoch, logs, rate, state.plan["epochs"])
        state.entries.append(entry)
        if not len(state.lowest) or not clearly_less(state.lowest, losses, errors=1):
            state.best, state.best_weights, state.best_logits = entry, task.model.get_weights(), logits
    if not len(state.lowest) or losses.mean() < state.lowest.mean():
        state.lowest = losses
    if recipe.schedule == "plateau":
        _follow_plateau(state, logs[CHOSEN_BY], recipe)
    if clock:
        plan = Plan(**state.plan)
        pace = Pace((learnt - started) / plan.steps, time.perf_counter() - learnt)
        state.plan = vars(clock.replan(plan, Plan(recipe.epochs, task.batches.steps), epoch, pace))
    state.done = state.done or epoch >= state.plan["epochs"]


def _learn(
    trainer: Trainer, task: Task, recipe: Recipe, state: State, clock: Clock | None, advance: Callable[[int, int], None]
) -> tuple[dict[str, float], float]:
    """Train an epoch; return its loss and accuracy, and the last learning rate.

    A loss that is not finite ends it.
    """
    epoch, steps = state.epoch + 1, state.plan["steps"]
    rate = recipe.learning_rate * state.plateau.get("factor", 1.0)
    total, correct, seen = 0.0, 0.0, 0
    stride = (1.0 - state.progress) / ((state.plan["epochs"] - state.epoch) * steps)
    batches = ahead(lambda step: task.batches.batch(epoch, step), range(steps))
    for step, (inputs, targets, weights) in enumerate(batches, 1):
        if recipe.schedule == "one-cycle":  # at the middle of the step: neither the first nor the last is at rate 0
            rate = recipe.learning_rate * one_cycle(state.progress + stride / 2, recipe.warmup)
        state.progress += stride
        loss, right = trainer.step(inputs, targets, weights, rate)
        total, correct, seen = total + loss * len(targets), correct + right, seen + len(targets)
        advance((epoch - 1) * steps + step, state.plan["epochs"] * steps)
        if not math.isfinite(loss):
            break
        if clock and clock.left() <= 0:  # the machine became slower than any forecast: this epoch is the last
            state.plan["epochs"] = epoch
            break
    state.epoch = epoch
    return {"loss": total / seen, "accuracy": correct / seen}, rate


def _follow_plateau(state: State, loss: float, recipe: Recipe) -> None:
    """Lower the learning rate, or end training, where validation gets no better."""
    at = state.plateau
    if loss < at.get("lowest", math.inf):
        state.plateau = at | {"lowest": loss, "since_best": 0, "since_change": 0}
        return
    at["since_best"] += 1
    at["since_change"] += 1
    if at["since_change"] >= recipe.reduce_patience:
        at |= {"factor": at.get("factor", 1.0) * recipe.reduce_factor, "since_change": 0}
    state.done = at["since_best"] >= recipe.early_stopping_patience


def one_cycle(progress: float, warmup: float) -> float:
    """Return the factor of the learning rate at a progress of 0 to 1.

    It rises linearly and falls by a cosine (Smith & Topin 2018).
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (progress - warmup) / (1.0 - warmup))))


def measure_pace(trainer: Trainer, task: Task, seconds: float = 2.0) -> Pace:
    """Measure the seconds of a step and of a validation; leave the model as it was."""
    before = trainer.variables()
    some = [step % task.batches.steps for step in range(50)]
    started, steps = 0.0, -2  # the first two, of which the first compiles, are not counted
    for inputs, targets, weights in ahead(lambda step: task.batches.batch(1, step), some):
        trainer.step(inputs, targets, weights, 0.0)
        steps += 1
        if steps == 0:
            started = time.perf_counter()
        elif steps >= 3 and time.perf_counter() - started > seconds:
            break
    step = (time.perf_counter() - started) / steps
    sample = task.validation[:512]
    in_slices(task.model, sample[:256])
    started = time.perf_counter()
    in_slices(task.model, sample)
    trainer.restore(before)
    return Pace(step, (time.perf_counter() - started) / len(sample) * len(task.validation))
