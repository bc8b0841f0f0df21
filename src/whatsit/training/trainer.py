"""One training step of a model, and its outputs."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Float32, Labels
from whatsit.images.stored_arrays import pieces
from whatsit.training.calibration import log_losses
from whatsit.training.history import Epoch
from whatsit.training.optimizer import NOT_DECAYED, make_optimizer
from whatsit.training.recipe import Recipe

if TYPE_CHECKING:
    import keras

MAX_GRADIENT = 5.0  # global norm; longer gradients are shortened (Pascanu et al. 2013)
MAX_MAPS = 512 * 1024**2  # bytes
# Inputs from which a model is compiled for them: it takes as long as 100 to 200 images by EfficientNet-Lite0, four times as fast
# afterwards.
COMPILED_FROM = 128


@dataclass(frozen=True)
class Fitted:
    """A fitted model at its best epoch."""

    model: keras.Model
    best: Epoch  # that epoch's entry in the history
    validation_logits: npt.NDArray[np.float32]  # [N, K]


class Trainer:
    """A model with its optimizer and, where there is one, its moving average."""

    def __init__(self, model: keras.Model, recipe: Recipe) -> None:
        import tensorflow as tf

        self.model = model
        self._optimizer = make_optimizer(model.trainable_variables, recipe)
        # The states of random generators are whole numbers and are not averaged.
        self._live = (
            [variable for variable in model.variables if variable.dtype == "float32"] if recipe.averaging else []
        )
        self._average = [tf.Variable(variable.value, trainable=False) for variable in self._live]
        self._steps = tf.Variable(0.0, trainable=False)
        self._step = self._compile(recipe)

    def step(self, inputs: Any, targets: Float32, weights: Float32, rate: float) -> tuple[float, float]:
        """Take one step; return the loss and the number of right predictions before it.

        The loss is the mean at the largest target of each example, unweighted.

        Args:
            inputs: the batch `[B, ...]` as the model takes it.
            targets: float32 `[B, K]`, each row with a sum of 1.
            weights: float32 `[B]`, of the examples in the loss.
            rate: the learning rate.
        """
        loss, right = self._step(inputs, targets, weights, np.float32(rate))
        return float(loss), float(right)

    def variables(self) -> list[npt.NDArray[Any]]:
        """Return copies of everything that the next step depends on."""
        return [np.array(variable) for variable in self._everything()]

    def restore(self, values: Sequence[npt.NDArray[Any]]) -> None:
        """Set the values that `variables` returned."""
        for variable, value in zip(self._everything(), values, strict=True):
            variable.assign(value)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model its averaged weights within a `with`."""
        kept = [np.array(variable) for variable in self._live]
        for variable, average in zip(self._live, self._average, strict=True):
            variable.assign(average)
        try:
            yield
        finally:
            for variable, value in zip(self._live, kept, strict=True):
                variable.assign(value)

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
            labels = tf.argmax(targets, axis=1)  # the loss that is logged is about these, without smoothing or mixing
            logged = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            return logged, tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, axis=1), labels), tf.float32))

        compiled: Callable[..., Any] = step
        return compiled


def in_slices(model: keras.Model, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the outputs of a model, without the overhead of `predict`.

    Half precision is widened first.
    """
    return np.concatenate([*_slices(model, inputs)])


def losses_of(model: keras.Model, inputs: npt.NDArray[Any], labels: Labels) -> npt.NDArray[np.float64]:
    """Return `log_losses` of a model's logits, which are never in memory as a whole."""
    parts, start = [], 0
    for logits in _slices(model, inputs):
        parts.append(log_losses(logits, labels[start : start + len(logits)]))
        start += len(logits)
    return np.concatenate(parts)


def _slices(model: keras.Model, inputs: npt.NDArray[Any]) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the outputs of a model for some inputs at a time."""
    outputs = _compiled(model) if len(inputs) >= COMPILED_FROM else functools.partial(_outputs, weakref.ref(model))
    for part in pieces(inputs, _at_a_time(model)):
        wide = part.astype(np.float32) if part.dtype == np.float16 else part
        yield np.asarray(outputs(wide))


def _outputs(model: Callable[[], Any], batch: Any) -> Any:
    """Return the outputs, float32, of the model of a weak reference."""
    import tensorflow as tf

    return tf.cast(model()(batch, training=False), tf.float32)


def _compiled(model: keras.Model) -> Callable[..., Any]:
    """Return a compiled function from inputs to outputs, kept as long as the model is.

    It takes any number of inputs, and holds the model by a weak reference.
    """
    import tensorflow as tf

    if model not in _functions:
        [batch] = model.inputs
        signature = [tf.TensorSpec(batch.shape, batch.dtype)]
        _functions[model] = tf.function(functools.partial(_outputs, weakref.ref(model)), input_signature=signature)
    function: Callable[..., Any] = _functions[model]
    return function


_functions: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def _at_a_time(model: keras.Model) -> int:
    """Return the number of inputs whose maps stay below `MAX_MAPS`.

    Keras frees no map before the output is there.
    """
    floats = sum(int(np.prod(layer.output.shape[1:])) for layer in model.layers)
    return max(8, min(256, MAX_MAPS // (4 * floats)))


def logits_of_views(model: keras.Model, views: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """Return the mean logits `[N, K]` of views of the same images or features."""
    total: npt.NDArray[np.float32] = sum((in_slices(model, view) for view in views[1:]), in_slices(model, views[0]))
    return total / np.float32(len(views))


def weighted_cross_entropy(targets: Any, logits: Any, weights: Any) -> Any:
    """Return the weighted cross-entropy of a batch, a float32 scalar tensor.

    It is the mean of `-w * sum(t * log_softmax(x))` over the number of examples, whatever their weights sum to: the meaning of
    Keras' `sample_weight`.

    Args:
        targets: float32 `[B, K]`, each row from 0 to 1 and with a sum of 1: a class, or a smoothed or mixed one.
        logits: float32 `[B, K]`.
        weights: float32 `[B]`, at least 0.
    """
    import tensorflow as tf

    # The fused operation takes softmax(x) - t for its gradient, which holds only for targets with a sum of 1. So a weight
    # must never be multiplied into the targets: it multiplies the loss, and with it the whole gradient.
    return tf.reduce_mean(weights * tf.nn.softmax_cross_entropy_with_logits(targets, logits))
