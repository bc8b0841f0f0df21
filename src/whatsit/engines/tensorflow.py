"""TensorFlow and Keras: loaded quietly, and what opens their files."""

from __future__ import annotations

import importlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.engines import EngineError, Images
from whatsit.engines.exported import OUTPUT, Probabilities, Run
from whatsit.progress import silent_descriptor

# What an exported Keras model is made of: a file with another layer is not ours, and might run code of its own.
LAYERS = frozenset(
    (
        "Activation", "Add", "Concatenate", "Conv2D", "Dense", "DepthwiseConv2D", "Flatten", "GlobalAveragePooling2D",
        "GlobalMaxPooling2D", "InputLayer", "MaxPooling2D", "Multiply", "Permute", "ReLU", "Rescaling", "Softmax",
        "UpSampling2D", "ZeroPadding2D",
    )
)  # fmt: skip


def load_keras() -> Any:
    """Keras with the TensorFlow backend, which greets on stderr whatever its log level."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silent_descriptor(2):
        return importlib.import_module("keras")


def open_keras(path: Path) -> Run:
    """A `.keras` or `.h5` file of ours; any other is refused unopened. Raises `EngineError`."""
    keras = load_keras()
    try:
        config = _configuration(path)
        strange = _strange(config)
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile, RecursionError) as error:
        raise EngineError(f"{path}: this is no Keras model: {error}") from None
    if strange:
        raise EngineError(f"{path}: refused, because the layer '{strange}' is none that whatsit exports")
    model = keras.models.load_model(path, compile=False)
    return lambda images: np.asarray(model(images, training=False))


def _configuration(path: Path) -> Any:
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    import h5py

    with h5py.File(path) as file:
        return json.loads(file.attrs["model_config"])


def _strange(config: Any) -> str | None:
    """The first layer that is none of ours, nor Keras' own under that name."""
    if config["class_name"] != "Functional":
        return str(config["class_name"])
    for layer in config["config"]["layers"]:
        if layer["class_name"] not in LAYERS or layer.get("module", "keras.layers") != "keras.layers":
            return f"{layer['class_name']} of {layer.get('module', 'keras.layers')}"
    return None


def open_saved_model(path: Path) -> Run:
    """The folder of a SavedModel. Raises `EngineError`."""
    load_keras()
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # kept: its signatures do not keep it
    serve = loaded.signatures["serving_default"]

    def run(images: Images, loaded: Any = loaded) -> Probabilities:
        found: Probabilities = serve(image=tf.constant(images))[OUTPUT].numpy()
        return found

    return run
