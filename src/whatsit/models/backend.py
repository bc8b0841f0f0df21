"""Loads Keras on TensorFlow, quietly. Everything that builds or trains a network gets it here first."""

from __future__ import annotations

import importlib
import importlib.util
import os

from whatsit.engines import training_precision
from whatsit.errors import MissingExtraError
from whatsit.progress import silent_descriptor


def load_keras() -> None:
    """Import Keras with the TensorFlow backend. Raises `MissingExtraError` where they are not installed."""
    for module in ("tensorflow", "keras", "onnx"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("Training", "train", module)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silent_descriptor(2):
        importlib.import_module("keras")


def layer_policy() -> str:
    """The Keras policy in which dense convolutions train fastest here: `mixed_bfloat16` where the processor has it.

    On two cores with AVX-512 it trained a small CNN 1.5 to 2.5 times as fast. Depthwise convolutions are slower in it.
    """
    return "mixed_bfloat16" if training_precision("openvino") == "bfloat16" else "float32"
