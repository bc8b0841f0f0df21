"""How weights are moved by gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whatsit.training.recipe import Recipe

NOT_DECAYED = ("bias", "gamma", "beta")


def make_optimizer(variables: Sequence[Any], recipe: Recipe) -> Adam | Sgd:
    """Return the recipe's optimizer of a model's trainable Keras variables.

    Weight decay is decoupled, of kernels alone.
    """
    kind = Sgd if recipe.optimizer == "sgd" else Adam
    return kind(variables, recipe.weight_decay)


class Adam:
    """Adam (Kingma & Ba 2015) by TensorFlow's fused operation.

    Weight decay is decoupled (Loshchilov & Hutter 2019).

    What Keras's optimizer does in a dozen passes over the weights is one here; of a head that is most of a step.
    """

    BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7

    def __init__(self, variables: Sequence[Any], weight_decay: float) -> None:
        import tensorflow as tf

        self._weights, self._decay = [variable.value for variable in variables], weight_decay
        self._decayed = [variable.name not in NOT_DECAYED for variable in variables]
        self._means, self._squares = (
            [tf.Variable(tf.zeros_like(weight), trainable=False) for weight in self._weights] for _ in range(2)
        )
        self._steps = tf.Variable(0.0, trainable=False)

    @property
    def variables(self) -> list[Any]:
        """What the next step depends on."""
        return [*self._means, *self._squares, self._steps]

    def apply(self, gradients: Sequence[Any], rate: Any) -> None:
        """Take one step at a learning rate, a float32 tensor; in a `tf.function`."""
        import tensorflow as tf

        steps = self._steps.assign_add(1.0)
        for weight, decayed, mean, square, gradient in zip(
            self._weights, self._decayed, self._means, self._squares, gradients, strict=True
        ):
            if self._decay and decayed:
                weight.assign_sub(weight * (self._decay * rate))
            # It assumes dense float32 gradients of the weights' shapes, and that it is given the powers of the betas at this
            # step; `apply` counts the steps, exactly up to 2^24, from where on both powers are 0 anyway.
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle, m=mean.handle, v=square.handle,
                beta1_power=self.BETA_1**steps, beta2_power=self.BETA_2**steps,
                lr=rate, beta1=self.BETA_1, beta2=self.BETA_2, epsilon=self.EPSILON, grad=gradient,
            )  # fmt: skip


class Sgd:
    """Stochastic gradient descent with Nesterov momentum 0.9, by Keras."""

    def __init__(self, variables: Sequence[Any], weight_decay: float) -> None:
        import keras

        self._weights = list(variables)
        self._optimizer = keras.optimizers.SGD(0.0, momentum=0.9, nesterov=True, weight_decay=weight_decay or None)
        if weight_decay:
            self._optimizer.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
        self._optimizer.build(self._weights)

    @property
    def variables(self) -> list[Any]:
        """What the next step depends on."""
        return list(self._optimizer.variables)

    def apply(self, gradients: Sequence[Any], rate: Any) -> None:
        """Take one step at a learning rate, a float32 tensor; in a `tf.function`."""
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply_gradients(zip(gradients, self._weights, strict=True))
