"""Writes a bundle's graph in the formats of other people's tools, each with all that is needed to use it without whatsit.

Every file takes raw pixels, uint8 RGB `[N, H, W, 3]`, and gives calibrated probabilities, float32 `[N, K]`. Beside the files
lie `labels.txt` (the classes, in the order of the probabilities), `preprocess.json` (how a picture becomes pixels) and
for each runtime an example that uses nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.bundle.format import Bundle
from whatsit.errors import MissingExtraError, ModelError, UsageError, suggest
from whatsit.files import replacing_folder, write_bytes, write_text
from whatsit.progress import silent_descriptor

Images = npt.NDArray[np.uint8]
SAMPLES = 300  # training pictures that show an int8 format the range of each value
_EXAMPLES = Path(__file__).parent / "examples"


@dataclass(frozen=True)
class Format:
    """One of the formats of `whatsit export`."""

    name: str
    file: str  # or folder, in the export folder
    example: str  # the script that shows its use
    needs: tuple[str, ...]  # packages that write and run it
    int8: bool = False  # whether weights and activations are rounded to 8 bits, by the range of some training pictures


_TENSORFLOW = ("onnx", "keras", "tensorflow")
FORMATS = {
    target.name: target
    for target in (
        Format("onnx", "model.onnx", "predict_onnx.py", ("onnx",)),
        Format("keras", "best_model.keras", "predict_keras.py", _TENSORFLOW),
        Format("h5", "best_model.h5", "predict_keras.py", (*_TENSORFLOW, "h5py")),
        Format("tflite", "model.tflite", "predict_tflite.py", (*_TENSORFLOW, "ai_edge_litert")),
        Format(
            "tflite-int8", "model_quantized.tflite", "predict_tflite.py", (*_TENSORFLOW, "ai_edge_litert"), int8=True
        ),
        Format("openvino", "openvino/model.xml", "predict_openvino.py", ("onnx", "openvino")),
        Format(
            "openvino-int8", "openvino_int8/model.xml", "predict_openvino.py", ("onnx", "openvino", "nncf"), int8=True
        ),
        Format("saved-model", "saved_model", "predict_saved_model.py", _TENSORFLOW),
    )
}


def parse_formats(names: str) -> list[Format]:
    """`onnx,tflite-int8` as formats. Raises `UsageError` for an unknown one, `MissingExtraError` where it cannot be written."""
    formats = []
    for name in dict.fromkeys(word.strip() for word in names.split(",")):
        if name not in FORMATS:
            raise UsageError(f"unknown format '{name}'{suggest(name, FORMATS)}")
        require(FORMATS[name])
        formats.append(FORMATS[name])
    return formats


def require(target: Format) -> None:
    """Raises `MissingExtraError` where a package that the format needs is not installed."""
    for package in target.needs:
        if importlib.util.find_spec(package) is None:
            extra = "export" if package in ("ai_edge_litert", "nncf") else "train"
            raise MissingExtraError(f"The format {target.name}", extra, package.replace("_", "-"))


class Exporter:
    """Writes one bundle in any number of formats; what they share is computed once."""

    def __init__(self, bundle: Bundle, samples: Callable[[], Images] | None = None) -> None:
        """`samples` gives training pictures as pixels, uint8 `[N, H, W, 3]`, for the int8 formats."""
        self.bundle = bundle
        self._samples = samples

    def write(self, target: Format, folder: Path) -> Path:
        """Write a format into the export folder, and what belongs to it beside it. Returns the path of the file.

        Raises:
            ModelError: the graph cannot be turned into this format. DiskError: the folder cannot be written.
        """
        path = folder / target.file
        with warnings.catch_warnings(), _quietly():
            warnings.simplefilter("ignore")  # of converters, about themselves
            if target.name == "saved-model":
                with replacing_folder(path) as new:
                    shutil.copytree(self._saved_model, new, dirs_exist_ok=True)
            elif target.file.endswith(".xml"):
                import openvino

                with replacing_folder(path.parent) as new:
                    openvino.save_model(self._openvino(target), new / path.name, compress_to_fp16=False)
            else:
                write_bytes(path, self._content(target))
        write_text(folder / "labels.txt", "\n".join(self.bundle.classes) + "\n")
        write_text(folder / "preprocess.json", json.dumps(self._preprocessing(), ensure_ascii=False, indent=1) + "\n")
        write_bytes(folder / target.example, (_EXAMPLES / target.example).read_bytes())
        return path

    def _content(self, target: Format) -> bytes:
        if target.name == "onnx":
            return self._onnx
        if target.name == "tflite":
            return self._tflite(self._saved_model)
        if target.name == "tflite-int8":
            return self._tflite_int8()
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / target.file
            self._keras().save(path)
            return path.read_bytes()

    @functools.cached_property
    def _onnx(self) -> bytes:
        from whatsit.models.classifier import PROBABILITIES
        from whatsit.models.from_onnx import only

        return only(self.bundle.graph, PROBABILITIES)

    def _keras(self, pixels: str = "uint8") -> Any:
        from whatsit.models.backend import load_keras
        from whatsit.models.from_onnx import to_keras

        load_keras()
        return to_keras(self._onnx, pixels=pixels)

    @functools.cached_property
    def _saved_model(self) -> Path:
        path = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        _save(self._keras(), path)
        return path

    def _tflite(self, saved_model: Path, **settings: Any) -> bytes:
        import tensorflow as tf

        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
        for name, value in settings.items():
            setattr(converter, name, value)
        content: bytes = converter.convert()
        return content

    def _tflite_int8(self) -> bytes:
        """Whole numbers throughout. The input's step is one level of a pixel, so that raw pixels go in as they are."""
        import tensorflow as tf

        samples = self._sample_pixels().astype(np.float32)
        samples[0, 0, 0], samples[0, 0, 1] = 0.0, 255.0  # the range of pixels, whatever the pictures have of it
        with tempfile.TemporaryDirectory() as temporary:
            _save(self._keras("float32"), Path(temporary))
            content = self._tflite(
                Path(temporary),
                optimizations=[tf.lite.Optimize.DEFAULT],
                representative_dataset=lambda: ({"image": sample[None]} for sample in samples),
                inference_input_type=tf.uint8,
                target_spec=_whole_numbers(),
            )
        from whatsit.engines.litert import input_step

        if input_step(content) != (1.0, 0):
            raise ModelError(f"the int8 file would read pixels in steps of {input_step(content)}, not as they are")
        return content

    def _openvino(self, target: Format) -> Any:
        import openvino

        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "model.onnx"
            path.write_bytes(self._onnx)
            model = openvino.convert_model(path)
        if target.int8:
            import nncf

            samples = self._sample_pixels()
            model = nncf.quantize(
                model,
                nncf.Dataset([sample[None] for sample in samples]),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(samples),
            )
        model.set_rt_info(list(self.bundle.classes), ["model_info", "labels"])
        model.set_rt_info(self.bundle.input.resize, ["model_info", "resize"])
        return model

    def _sample_pixels(self) -> Images:
        if self._samples is None:
            raise UsageError("an int8 format needs some training pictures")
        return self._samples()

    def _preprocessing(self) -> dict[str, Any]:
        spec = self.bundle.input
        return {
            "input": {
                "name": "image",
                "dtype": "uint8",
                "shape": [None, spec.height, spec.width, 3],
                "channels": "RGB",
            },
            "output": {"name": "probabilities", "dtype": "float32", "shape": [None, len(self.bundle.classes)]},
            "size": [spec.width, spec.height],
            "resize": spec.resize,
            "steps": [
                "Decode the first frame; a JPEG at least twice as large both ways, at 1/2, 1/4 or 1/8 (Pillow's draft).",
                "Lay transparent pictures on white; make palette, grey and CMYK pictures RGB; scale 16-bit samples to 8.",
                "Stretch to the size with an antialiased bilinear filter (Pillow's BILINEAR).",
                "Turn by the EXIF orientation.",
            ],
        }


def _save(model: Any, path: Path) -> None:
    """As a TensorFlow SavedModel whose signature names its input and output."""
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serve",
        lambda image: {"probabilities": model(image, training=False)},
        input_signature=[tf.TensorSpec(model.input.shape, model.input.dtype, name="image")],
    )
    archive.write_out(path, verbose=False)


def _whole_numbers() -> Any:
    import tensorflow as tf

    spec = tf.lite.TargetSpec()
    spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return spec


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Away with what converters print, by whatever way; what goes wrong comes as an exception."""
    with silent_descriptor(1), silent_descriptor(2):
        yield
