from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whatsit.engines import EngineError
from whatsit.engines.exported import open_exported
from whatsit.models.backend import load_keras

load_keras()


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_keras_file_with_a_foreign_layer_is_not_opened(ending: str, nested: bool, tmp_path: Path) -> None:
    import keras

    image = keras.Input((4, 4, 3))
    model = keras.Model(image, keras.layers.Lambda(lambda value: value * 2)(image))
    if nested:
        model = keras.Model(image, model(image))
    model.save(tmp_path / f"evil.{ending}")
    with pytest.raises(EngineError, match=r"refused, because '(Lambda|Functional)' is nothing that whatsit"):
        open_exported(tmp_path / f"evil.{ending}")


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.tflite", "a.onnx", "a.xml"])
def test_a_damaged_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(EngineError):
        open_exported(tmp_path / name)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_function_of_its_own_inside_a_layer_is_refused(ending: str, tmp_path: Path) -> None:
    import keras

    @keras.saving.register_keras_serializable("mine")
    def twice(value: object) -> object:
        return value * 2

    image = keras.Input((4, 4, 3))
    keras.Model(image, keras.layers.Activation(twice)(image)).save(tmp_path / f"evil.{ending}")
    with pytest.raises(EngineError, match="nothing that whatsit exports"):
        open_exported(tmp_path / f"evil.{ending}")


def test_a_saved_model_that_reads_files_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    class Evil(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 3), tf.uint8, name="image")])
        def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            secret = tf.strings.length(tf.io.read_file("/etc/hostname"))
            return {"probabilities": tf.cast(image[:, 0, 0], tf.float32) * tf.cast(secret, tf.float32)}

    tf.saved_model.save(Evil(), str(tmp_path / "evil"))
    with pytest.raises(EngineError, match=r"refused, because the operator '.*' is none that whatsit exports"):
        open_exported(tmp_path / "evil")


def _changed(folder: Path, change: Callable[[Any], None]) -> Path:
    """A SavedModel with nothing but our operators, of which a part is changed."""
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    class Plain(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 3), tf.uint8, name="image")])
        def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": tf.cast(tf.reshape(image, (-1, 48)), tf.float32)}

    tf.saved_model.save(Plain(), str(folder))
    file = folder / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    change(model)
    file.write_bytes(model.SerializeToString())
    return folder


def test_a_saved_model_of_our_operators_is_opened(tmp_path: Path) -> None:
    infer = open_exported(_changed(tmp_path / "plain", lambda _: None))
    assert infer(np.zeros((2, 4, 4, 3), np.uint8)).shape == (2, 48)


def _saver(model: Any) -> str:
    functions = model.meta_graphs[0].graph_def.library.function
    return next(f.signature.name for f in functions if f.signature.name.startswith("__inference__traced_save"))


def _calls_what_saves_it(model: Any) -> None:
    functions = model.meta_graphs[0].graph_def.library.function
    wrapper = next(f for f in functions if "signature_wrapper" in f.signature.name)
    call = next(node for node in wrapper.node_def if node.op.endswith("PartitionedCall"))
    call.attr["f"].func.name = _saver(model)


def _two_graphs(model: Any) -> None:
    model.meta_graphs.add().CopyFrom(model.meta_graphs[0])


def _no_objects(model: Any) -> None:
    model.meta_graphs[0].ClearField("object_graph_def")


def _another_operator(model: Any) -> None:
    model.meta_graphs[0].graph_def.node.add(name="secret", op="ReadFile")


def _signature_is_what_saves(model: Any) -> None:
    for node in model.meta_graphs[0].object_graph_def.nodes:
        if node.HasField("bare_concrete_function"):
            node.bare_concrete_function.concrete_function_name = _saver(model)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (_calls_what_saves_it, "the operator '.*PartitionedCall'"),
        (_two_graphs, "several graphs"),
        (_no_objects, "TensorFlow 1"),
        (_another_operator, "the operator 'ReadFile'"),
        (_signature_is_what_saves, "an object that runs what saves it"),
    ],
)
def test_a_saved_model_that_could_run_anything_else_is_refused(
    change: Callable[[Any], None], part: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=f"refused, because .*{part}.* is none that whatsit exports"):
        open_exported(_changed(tmp_path / "evil", change))


def test_a_saved_model_of_tensorflow_1_runs_nothing(tmp_path: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(tf.uint8, (None, 4, 4, 3), "image")
        signature = v1.saved_model.predict_signature_def(
            {"image": image}, {"probabilities": tf.cast(image, tf.float32)}
        )
        evil = tf.io.write_file(str(tmp_path / "written"), "evil")
        builder = v1.saved_model.Builder(str(tmp_path / "evil"))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, main_op=evil)
        builder.save()
    with pytest.raises(EngineError, match="refused, because its form"):
        open_exported(tmp_path / "evil")
    assert not (tmp_path / "written").exists()


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="damaged"):
        open_exported(tmp_path)


def test_an_input_of_another_size_is_told_in_one_line(tmp_path: Path) -> None:
    import keras

    image = keras.Input((4, 4, 3), dtype="uint8", name="image")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1.0)(image))
    keras.Model(image, keras.layers.Dense(2)(x)).save(tmp_path / "small.keras")
    infer = open_exported(tmp_path / "small.keras")
    assert infer(np.zeros((5, 4, 4, 3), np.uint8)).shape == (5, 2)
    with pytest.raises(EngineError, match="damaged"):
        infer(np.zeros((1, 8, 8, 3), np.uint8))
