from __future__ import annotations

from pathlib import Path

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
