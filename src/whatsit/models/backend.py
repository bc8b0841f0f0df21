"""Loads Keras on TensorFlow, quietly. Everything that builds or trains a network gets it here first."""

from __future__ import annotations

import importlib
import importlib.util
import os

from whatsit.errors import MissingExtraError


def load_keras() -> None:
    """Import Keras with the TensorFlow backend. Raises `MissingExtraError` where they are not installed."""
    for module in ("tensorflow", "keras", "onnx"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("Training", "train", module)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    importlib.import_module("keras")
