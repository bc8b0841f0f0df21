"""Loads Keras on TensorFlow, quietly. Everything that builds or trains a network gets it here first."""

from __future__ import annotations

import importlib.util

from whatsit.engines import available, tensorflow, training_precision
from whatsit.errors import MissingExtraError


def load_keras() -> None:
    """Import Keras with the TensorFlow backend. Raises `MissingExtraError` where they are not installed."""
    for module in ("tensorflow", "keras", "onnx"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("Training", "train", module)
    tensorflow.load_keras()


def layer_policy() -> str:
    """The Keras policy in which dense convolutions train fastest here: `mixed_bfloat16` where the processor has it.

    On two cores with AVX-512 it trained a small CNN 1.5 to 2.5 times as fast. Depthwise convolutions are slower in it.
    """
    if "openvino" not in available():  # which is asked what the processor has
        return "float32"
    return "mixed_bfloat16" if training_precision("openvino") == "bfloat16" else "float32"
