"""Opens the files that `whatsit export` writes, each by the runtime that it is made for."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from whatsit.engines import EngineError, Images

Probabilities: TypeAlias = npt.NDArray[np.float32]
Run: TypeAlias = Callable[[Images], Probabilities]  # uint8 [N, H, W, 3], any N, to float32 [N, K]

OUTPUT = "probabilities"
# What an exported Keras model is made of: a file with another layer is not ours, and might run code of its own.
LAYERS = frozenset(
    (
        "Activation", "Add", "Concatenate", "Conv2D", "Dense", "DepthwiseConv2D", "Flatten", "GlobalAveragePooling2D",
        "GlobalMaxPooling2D", "InputLayer", "MaxPooling2D", "Multiply", "Permute", "ReLU", "Rescaling", "Softmax",
        "UpSampling2D", "ZeroPadding2D",
    )
)  # fmt: skip


def open_exported(path: Path, runtime: str | None = None, threads: int | None = None) -> Run:
    """An exported file (or folder) as a function from pixels to probabilities.

    Args:
        path: `.onnx`, `.xml` (OpenVINO), `.tflite`, `.keras`, `.h5`, or the folder of a SavedModel.
        runtime: for `.onnx` `onnxruntime` (the default) or `openvino`; every other file has one runtime.
        threads: processor threads; all cores by default. TensorFlow does not heed it.

    Raises:
        EngineError: the runtime refuses the file, or the file is not one of ours.
    """
    if path.suffix in (".onnx", ".xml"):
        return _graph(path, runtime or ("openvino" if path.suffix == ".xml" else "onnxruntime"), threads)
    if path.suffix == ".tflite":
        from whatsit.engines.litert import LiteRT

        return LiteRT(path.read_bytes(), threads).run
    if path.suffix in (".keras", ".h5"):
        return _keras(path)
    return _saved_model(path)


def _graph(path: Path, runtime: str, threads: int | None) -> Run:
    engine: Any
    if runtime == "openvino":
        from whatsit.engines.openvino import OpenVINOEngine

        engine = OpenVINOEngine(path, (OUTPUT,), "float32", threads)
    else:
        from whatsit.engines.onnxruntime import ONNXRuntimeEngine

        engine = ONNXRuntimeEngine(path.read_bytes(), (OUTPUT,), threads)

    def run(images: Images) -> Probabilities:
        [found] = engine.run(images)
        return found  # type: ignore[no-any-return]

    return run


def open_keras(path: Path) -> Any:
    """The Keras model in a `.keras` or `.h5` file of ours; any other is refused unopened. Raises `EngineError`."""
    import keras

    try:
        config = _configuration(path)
        strange = sorted(_class_names(config) - LAYERS)
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile, RecursionError) as error:
        raise EngineError(f"{path}: this is no Keras model: {error}") from None
    if strange:
        raise EngineError(f"{path}: refused, because the layer '{strange[0]}' is none that whatsit exports")
    return keras.models.load_model(path, compile=False)


def _configuration(path: Path) -> Any:
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    import h5py

    with h5py.File(path) as file:
        return json.loads(file.attrs["model_config"])


def _class_names(config: Any) -> set[str]:
    """The class of every layer, and of whatever else than a layer is not Keras' own."""
    layers = config["config"]["layers"]
    return {config["class_name"], *(layer["class_name"] for layer in layers)} - {"Functional"}


def _keras(path: Path) -> Run:
    model = open_keras(path)
    return lambda images: np.asarray(model(images, training=False))


def _saved_model(path: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # kept: its signatures do not keep it
    serve = loaded.signatures["serving_default"]

    def run(images: Images, loaded: Any = loaded) -> Probabilities:
        found: Probabilities = serve(image=tf.constant(images))[OUTPUT].numpy()
        return found

    return run
