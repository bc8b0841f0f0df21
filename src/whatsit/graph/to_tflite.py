"""Convert a Keras model to a SavedModel, and to TFLite in float32 or int8."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.arrays import Images
from whatsit.errors import ModelError
from whatsit.graph.builder import PROBABILITIES


def save_model(model: Any, path: Path, *, batch: int | None = None) -> None:
    """Write a TensorFlow SavedModel whose signature names its input and outputs.

    `batch` is the number of images that it takes at a time; None: any.
    """
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serve",
        lambda image: _named(model(image, training=False)),
        input_signature=[tf.TensorSpec((batch, *model.input.shape[1:]), model.input.dtype, name="image")],
    )
    archive.write_out(path, verbose=False)


def _named(outputs: Any) -> dict[str, Any]:
    return outputs if isinstance(outputs, dict) else {PROBABILITIES: outputs}


def to_tflite(model: Any, *, batch: int | None = None, **settings: Any) -> bytes:
    """Return the contents of a TFLite file.

    `batch` is as `save_model` has it; `settings` are attributes of TensorFlow's converter.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as temporary:
        save_model(model, Path(temporary), batch=batch)
        converter = tf.lite.TFLiteConverter.from_saved_model(temporary)
        for name, value in settings.items():
            setattr(converter, name, value)
        content: bytes = converter.convert()
    return content


def to_tflite_int8(model: Any, pixels: Images, *, whole: bool = False) -> bytes:
    """Return the contents of a TFLite file of whole numbers throughout.

    The input's step is one level of a pixel, so that raw pixels go in as they are.

    Args:
        model: takes pixels as float32 `[N, H, W, 3]`, 0 to 255.
        pixels: training images uint8 `[N, H, W, 3]`, by whose range values are rounded.
        whole: take one image at a time, of int8 pixels, 128 less, and give int8 probabilities in steps of 1/256; else take any
            number of them as uint8, and give float32.

    Raises:
        ModelError: the file would read pixels in other steps.
    """
    import tensorflow as tf

    from whatsit.engines.litert import input_step

    samples = pixels.astype(np.float32)
    samples[0, 0, 0] = 0.0  # the whole range of pixels, even if the images do not have it
    samples[0, -1, -1] = 255.0
    content = to_tflite(
        model,
        batch=1 if whole else None,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ({"image": sample[None]} for sample in samples),
        inference_input_type=tf.int8 if whole else tf.uint8,
        inference_output_type=tf.int8 if whole else tf.float32,
        target_spec=tf.lite.TargetSpec(supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8]),
    )
    if input_step(content) != (1.0, -128 if whole else 0):
        raise ModelError(f"the int8 file would read pixels in steps of {input_step(content)}, not as they are")
    return content
