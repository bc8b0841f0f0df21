"""The one training loop: every epoch is validated, noted and saved, and a run that was cut off goes on where it stood."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whatsit.errors import WhatsitError
from whatsit.events import Work
from whatsit.training import checkpoint
from whatsit.training.batches import Batches, Floats, Labels, ahead
from whatsit.training.calibration import calibrated_losses, clearly_less, log_losses
from whatsit.training.checkpoint import State
from whatsit.training.clock import Clock, Pace, Plan
from whatsit.training.history import CHOSEN_BY, Epoch, History
from whatsit.training.losses import weighted_cross_entropy
from whatsit.training.optimizer import NOT_DECAYED, make_optimizer
from whatsit.training.recipe import Recipe

if TYPE_CHECKING:
    import keras

MAX_GRADIENT = 5.0  # global norm; longer gradients are shortened (Pascanu et al. 2013)
SELDOM = 10.0  # seconds
MAX_MAPS = 512 * 1024**2  # bytes


class TrainingError(WhatsitError):
    """Training went wrong in a way that another recipe may cure."""


@dataclass(frozen=True)
class Fitted:
    """A fitted model at its best epoch."""

    model: keras.Model
    best: Epoch  # that epoch's entry in the history
    validation_logits: npt.NDArray[np.float32]  # [N, K]


@dataclass(frozen=True)
class Task:
    """What a stage of training is about: a model that ends in logits, what it learns from and is judged by."""

    stage: str  # its name in the history
    model: keras.Model
    batches: Batches
    validation: npt.NDArray[Any]  # inputs, first axis N
    validation_labels: Labels  # [N]
    rate: tuple[str, float] | None = None  # the learning rate's key and value as the user knows them, for advice
    rarely: bool = False  # what a `kill -9` would lose is soon made again: it is saved every `SELDOM` seconds only

    def advice(self, recipe: Recipe) -> str:
        """What to try where the loss runs away."""
        key, value = self.rate or ("learning_rate", recipe.learning_rate)
        return f"try a lower learning rate than {value:g} (--set {key}=...)"


def fit(task: Task, recipe: Recipe, history: History, clock: Clock | None = None) -> Fitted:
    """Train the model of a task, or finish its training, and set it to its best epoch.

    With a clock, the machine's pace is measured first, a forecast is told and the number of epochs fitted to the time
    that is left. Raises `TrainingError` where the loss is not finite in the first epoch.
    """
    path = history.folder / "checkpoints" / f"{task.stage}.npz"
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
    """Train, validate and record an epoch; `advance` takes the steps done and planned."""
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
    """An epoch of steps: what is noted of them, and the last learning rate. A loss that is not finite ends it."""
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
    """The learning rate falls where validation gets no better for some epochs, and training ends after some more."""
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
    """The learning rate's factor, 0 to 1, at a progress of 0 to 1: a linear rise and a cosine fall (Smith & Topin 2018)."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (progress - warmup) / (1.0 - warmup))))


def measure_pace(trainer: Trainer, task: Task, seconds: float = 2.0) -> Pace:
    """Seconds that a step and a validation take here, found by some of them; the model is as before afterwards."""
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


class Trainer:
    """A model with its optimizer and, where the recipe wants it, a moving average of its weights."""

    def __init__(self, model: keras.Model, recipe: Recipe) -> None:
        import tensorflow as tf

        self.model = model
        self._optimizer = make_optimizer(model.trainable_variables, recipe)
        # Averaged is what holds figures; the states of random generators are whole numbers.
        self._live = (
            [variable for variable in model.variables if variable.dtype == "float32"] if recipe.averaging else []
        )
        self._average = [tf.Variable(variable.value, trainable=False) for variable in self._live]
        self._steps = tf.Variable(0.0, trainable=False)
        self._step = self._compile(recipe)

    def step(self, inputs: Any, targets: Floats, weights: Floats, rate: float) -> tuple[float, float]:
        """Take one step of the optimizer; return what was so before it.

        That is the mean loss at the largest target of each example, unweighted, and how many predictions were right.

        Args:
            inputs: the batch `[B, ...]` as the model takes it.
            targets: float32 `[B, K]`, each row with a sum of 1.
            weights: float32 `[B]`, of the examples in the loss.
            rate: the learning rate.
        """
        loss, right = self._step(inputs, targets, weights, np.float32(rate))
        return float(loss), float(right)

    def variables(self) -> list[npt.NDArray[Any]]:
        """Copies of everything that the next step depends on."""
        return [np.array(variable) for variable in self._everything()]

    def restore(self, values: Sequence[npt.NDArray[Any]]) -> None:
        """Set what `variables` gave."""
        for variable, value in zip(self._everything(), values, strict=True):
            variable.assign(value)

    def averaged(self) -> _Averaged:
        """For the time of a `with`, the model has its averaged weights."""
        return _Averaged(self._live, self._average)

    def _everything(self) -> list[Any]:
        return [*self.model.variables, *self._optimizer.variables, *self._average, self._steps]

    def _compile(self, recipe: Recipe) -> Callable[..., Any]:
        import tensorflow as tf

        model, optimizer = self.model, self._optimizer
        kernels = [v for v in model.trainable_variables if v.name not in NOT_DECAYED] if recipe.l2 else []

        # Compiled once for batches of any size: they differ by one picture.
        signature = [
            tf.TensorSpec(model.input.shape, model.input.dtype),
            tf.TensorSpec((None, None), tf.float32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((), tf.float32),
        ]

        @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
        def step(inputs: Any, targets: Any, weights: Any, rate: Any) -> Any:
            with tf.GradientTape() as tape:
                logits = tf.cast(model(inputs, training=True), tf.float32)
                loss = weighted_cross_entropy(targets, logits, weights)
                whole = (
                    loss + recipe.l2 * tf.add_n([tf.nn.l2_loss(kernel.value) for kernel in kernels])
                    if kernels
                    else loss
                )
            gradients, _ = tf.clip_by_global_norm(tape.gradient(whole, model.trainable_variables), MAX_GRADIENT)
            optimizer.apply(gradients, rate)
            if self._average:
                self._steps.assign_add(1.0)
                decay = tf.minimum(recipe.averaging, (1.0 + self._steps) / (10.0 + self._steps))
                for average, live in zip(self._average, self._live, strict=True):
                    average.assign_sub((1.0 - decay) * (average - live.value))
            labels = tf.argmax(targets, axis=1)  # what is told is about these, whatever was done to the targets
            told = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            return told, tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, axis=1), labels), tf.float32))

        compiled: Callable[..., Any] = step
        return compiled


class _Averaged:
    def __init__(self, live: Sequence[Any], average: Sequence[Any]) -> None:
        self._live, self._average = live, average
        self._kept: list[npt.NDArray[Any]] = []

    def __enter__(self) -> None:
        self._kept = [np.array(variable) for variable in self._live]
        for variable, average in zip(self._live, self._average, strict=True):
            variable.assign(average)

    def __exit__(self, *_: object) -> None:
        for variable, value in zip(self._live, self._kept, strict=True):
            variable.assign(value)


def in_slices(model: keras.Model, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The model's answers, without the overhead of `predict`; half precision is widened first."""
    import tensorflow as tf

    count = _at_a_time(model)
    slices = (inputs[start : start + count] for start in range(0, len(inputs), count))
    wide = (part.astype(np.float32) if part.dtype == np.float16 else part for part in slices)
    return np.concatenate([np.asarray(tf.cast(model(part, training=False), tf.float32)) for part in wide])


def _at_a_time(model: keras.Model) -> int:
    """So many pictures that all their maps stay below `MAX_MAPS`: Keras lets none go before the answer is there."""
    floats = sum(int(np.prod(layer.output.shape[1:])) for layer in model.layers)
    return max(8, min(256, MAX_MAPS // (4 * floats)))


def logits_of_views(model: keras.Model, views: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """Return the mean logits `[N, K]` of one or several views of the same images, or of their features."""
    total: npt.NDArray[np.float32] = sum((in_slices(model, view) for view in views[1:]), in_slices(model, views[0]))
    return total / np.float32(len(views))
