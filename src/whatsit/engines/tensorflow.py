"""Load TensorFlow and Keras quietly, and open their files."""

from __future__ import annotations

import contextlib
import glob
import importlib
import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whatsit.engines.base import OUTPUT, EngineError, Images, Infer, Probabilities
from whatsit.process import environment, silent_descriptor, taken_processors

# What an exported Keras model is made of: a file with another layer is not ours, and might run code of its own.
LAYERS = frozenset(
    (
        "Activation", "Add", "Concatenate", "Conv2D", "Dense", "DepthwiseConv2D", "Flatten", "GlobalAveragePooling2D",
        "GlobalMaxPooling2D", "InputLayer", "MaxPooling2D", "Multiply", "Permute", "ReLU", "Rescaling", "Softmax",
        "UpSampling2D", "ZeroPadding2D",
    )
)  # fmt: skip
# The same for the functions of a SavedModel.
OPERATORS = frozenset(
    (
        "AddV2", "BiasAdd", "Cast", "ConcatV2", "Const", "Conv2D", "DepthwiseConv2dNative", "ExpandDims", "GatherV2", "Identity",
        "MatMul", "Max", "MaxPool", "Mean", "Mul", "NoOp", "Pack", "Pad", "PartitionedCall", "Prod", "ReadVariableOp", "Relu",
        "Relu6", "Reshape", "ResizeBilinear", "Shape", "Sigmoid", "Softmax", "Squeeze", "StatefulPartitionedCall",
        "StridedSlice", "Transpose",
    )
)  # fmt: skip
_TRACED = ("__inference__traced_save", "__inference__traced_restore")
# What else the graph around the functions has: its inputs, its variables and whether they have their values.
_OUTSIDE = frozenset(("AssignVariableOp", "Placeholder", "VarHandleOp", "VarIsInitializedOp"))
_FUNCTIONS = ("function", "Lambda", "__lambda__")


def load_keras() -> Any:
    """Return Keras with the TensorFlow backend, without the greeting on stderr."""
    if "keras" in sys.modules:
        return importlib.import_module("keras")
    backend, level = (
        environment({"KERAS_BACKEND": "tensorflow"}, always=True),
        environment({"TF_CPP_MIN_LOG_LEVEL": "3"}),
    )
    with backend, level, silent_descriptor(2):
        keras = importlib.import_module("keras")
    if share := taken_processors():
        importlib.import_module("tensorflow").config.threading.set_intra_op_parallelism_threads(share)
    return keras


def read_keras(path: Path) -> Any:
    """Return the Keras model of a file; refuse what whatsit does not export.

    Raises `EngineError`, without opening it, for a file that may run code.
    """
    keras = load_keras()
    try:
        strange = _strange(_configuration(path))
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile, RecursionError) as error:
        raise EngineError(f"{path}: this is no Keras model: {error}") from None
    if strange:
        raise EngineError(f"{path}: refused, because '{strange}' is nothing that whatsit exports")
    return keras.models.load_model(path, compile=False, safe_mode=True)


def _configuration(path: Path) -> Any:
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    import h5py

    with h5py.File(path) as file:
        return json.loads(file.attrs["model_config"])


def _strange(config: Any) -> str | None:
    """Return the first layer, or part of one, that whatsit does not export."""
    layers = config["config"]["layers"]
    if config["class_name"] != "Functional":
        return str(config["class_name"])
    names = (layer["class_name"] for layer in layers)
    return next((str(name) for name in names if name not in LAYERS), None) or _foreign(layers)


def _foreign(value: Any) -> str | None:
    """Return the first thing that Keras would look for outside itself."""
    if isinstance(value, dict):
        name, module = value.get("class_name"), value.get("module") or "keras"
        registered = str(value.get("registered_name") or "")
        if name is not None and (name in _FUNCTIONS or not module.startswith("keras") or ">" in registered):
            return f"{name} of {module}"
        value = value.values()
    elif not isinstance(value, list):
        return None
    return next((found for item in value if (found := _foreign(item))), None)


def open_saved_model(path: Path, output: str = OUTPUT) -> Infer:
    """Return a SavedModel as a function; refuse what whatsit does not export.

    The function returns the output of that name.

    Raises `EngineError`, without opening it, for a folder that may run code.
    """
    load_keras()
    import tensorflow as tf

    if strange := _strange_part((path / "saved_model.pb").read_bytes()):
        raise EngineError(f"{path}: refused, because {strange} is none that whatsit exports")
    with _plainly_named(path) as folder:
        loaded = tf.saved_model.load(str(folder))  # kept: its signatures do not keep it
    serve = loaded.signatures["serving_default"]

    def infer(images: Images, loaded: Any = loaded) -> Probabilities:
        probabilities: Probabilities = serve(image=tf.constant(images))[output].numpy()
        return probabilities

    return infer


@contextlib.contextmanager
def _plainly_named(folder: Path) -> Iterator[Path]:
    """Yield the folder under a name that TensorFlow does not take for a pattern."""
    if not glob.has_magic(str(folder.resolve())) and "\\" not in str(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(shutil.copytree(folder, Path(temporary) / "saved_model"))


def _strange_part(content: bytes) -> str | None:
    """Return the first part of a SavedModel that whatsit does not export.

    Other operators can read and write files. Every SavedModel has functions to save and restore itself: they are allowed, but
    nothing that runs may name them: no other function, and no object, whose functions run when it is loaded or called.
    """
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    graphs = SavedModel.FromString(content).meta_graphs
    if len(graphs) != 1 or not graphs[0].HasField("object_graph_def"):
        return "its form (TensorFlow 1, or several graphs)"  # of such a one, the graph itself is run when it is loaded
    [graph] = graphs
    if _names_a_saver(graph.object_graph_def):
        return "an object that runs what saves it"
    functions = [f for f in graph.graph_def.library.function if not f.signature.name.startswith(_TRACED)]
    inside = [node for function in functions for node in function.node_def]
    strange = [node.op for node in inside if node.op not in OPERATORS or _names_a_saver(node)]
    strange += [node.op for node in graph.graph_def.node if node.op not in OPERATORS | _OUTSIDE]
    return f"the operator '{strange[0]}'" if strange else None


def _names_a_saver(message: Any) -> bool:
    """Return whether a message names the functions that save and restore a model."""
    content = message.SerializeToString()
    return any(name.encode() in content for name in _TRACED)
