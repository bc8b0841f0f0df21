"""Writes a bundle's graph in the formats of other people's tools, each with all that is needed to use it without whatsit.

Every file takes raw pixels, uint8 RGB `[N, H, W, 3]`, and gives calibrated probabilities, float32 `[N, K]`. Beside the files
lie `labels.txt` (the classes, in the order of the probabilities), `preprocess.json` (how a picture becomes pixels), and
for each runtime an example that uses nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.bundle.format import Bundle
from whatsit.errors import MissingExtraError, ModelError, UsageError, WhatsitError, suggest
from whatsit.files import written_by_others
from whatsit.images.decode import RULES
from whatsit.process import silent_descriptor

Images = npt.NDArray[np.uint8]
REJECTED = "-REJECTED"
RULE = "preprocess.json"
_EXAMPLES = Path(__file__).parent / "examples"


@dataclass(frozen=True)
class Format:
    """One of the formats of `whatsit export`."""

    name: str
    file: str  # in the export folder; of a format that is a folder, that folder or the file to open in it
    example: str  # the script that shows its use
    needs: tuple[str, ...]  # packages that write and run it
    int8: bool = False  # whether weights and activations are rounded to 8 bits, by the range of some training pictures

    @property
    def top(self) -> str:
        """The file, or the folder, that lies in the export folder."""
        return PurePosixPath(self.file).parts[0]

    def rejected(self) -> Format:
        """Where it lies when its gate refused it."""
        top = PurePosixPath(self.top)
        name = f"{top.stem}{REJECTED}{top.suffix}"
        return Format(
            self.name,
            str(PurePosixPath(name, *PurePosixPath(self.file).parts[1:])),
            self.example,
            self.needs,
            self.int8,
        )


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
    targets = []
    for name in dict.fromkeys(word.strip() for word in names.split(",")):
        if name not in FORMATS:
            raise UsageError(f"unknown format '{name}'{suggest(name, FORMATS)}")
        require(FORMATS[name])
        targets.append(FORMATS[name])
    return targets


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

    def write(self, target: Format, folder: Path, shown: Path | None = None) -> Path:
        """Write the file, or folder, of a format into a folder that exists. Returns the path of what is to be opened.

        `shown` is the folder that errors name instead. Raises:
            DiskError: the disk is full.
            ModelError: the graph cannot be turned into this format.
        """
        path = folder / target.file
        try:
            with (
                warnings.catch_warnings(),
                silent_descriptor(1),
                silent_descriptor(2),
                written_by_others(path if shown is None else shown / target.file, folder, len(self.bundle.graph)),
            ):
                warnings.simplefilter("ignore")  # of converters, about themselves
                self._write(target, path)
        except (WhatsitError, MemoryError, ImportError):
            raise
        except Exception as error:  # each converter has errors of its own
            reason = (str(error).strip().splitlines() or [""])[0][:200]
            raise ModelError(
                f"the model cannot be written as {target.name}: {type(error).__name__}: {reason}"
            ) from None
        return path

    def companions(self) -> dict[str, str]:
        """What lies beside every format, by the file's name: the labels, and how a picture becomes pixels."""
        rule = json.dumps(self._preprocessing(), ensure_ascii=False, indent=1)
        return {"labels.txt": "\n".join(self.bundle.classes) + "\n", RULE: rule + "\n"}

    def require_own(self, folder: Path, targets: Sequence[Format]) -> None:
        """Raises `UsageError` where writing into a folder would replace what is not an export of this model."""
        try:
            made_of = json.loads((folder / RULE).read_text(encoding="utf-8"))["model"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            made_of = None
        if made_of == self._fingerprint():
            return
        names = [
            RULE,
            "labels.txt",
            "read_picture.py",
            *(name for target in targets for name in (target.top, target.example)),
        ]
        if there := next((name for name in names if os.path.lexists(folder / name)), None):
            what = "is there already, and whatsit did not write it" if made_of is None else "is of another model"
            raise UsageError(f"{folder / there} {what}; choose another folder with --out, or remove it first")

    def write_companions(self, target: Format, folder: Path) -> list[str]:
        """Write what belongs beside the file: the rule, labels, the example. Returns their names. Raises `OSError`."""
        texts = {name: text.encode() for name, text in self.companions().items()}
        texts |= {name: (_EXAMPLES / name).read_bytes() for name in ("read_picture.py", target.example)}
        for name, text in texts.items():
            (folder / name).write_bytes(text)
        return sorted(texts, key=lambda name: name != RULE)  # the rule says whose folder it is

    def _write(self, target: Format, path: Path) -> None:
        if target.name == "onnx":
            path.write_bytes(self._onnx)
        elif target.name == "tflite":
            with tempfile.TemporaryDirectory() as temporary:
                _save(self._keras, Path(temporary))
                path.write_bytes(_to_tflite(Path(temporary)))
        elif target.name == "tflite-int8":
            path.write_bytes(self._tflite_int8())
        elif target.name == "saved-model":
            _save(self._keras, path)
        elif path.suffix == ".xml":
            import openvino

            path.parent.mkdir()
            openvino.save_model(self._openvino(target), path, compress_to_fp16=False)
        else:
            self._keras.save(path)

    @functools.cached_property
    def _onnx(self) -> bytes:
        from whatsit.graph.builder import PROBABILITIES
        from whatsit.graph.to_keras import only

        return only(self.bundle.graph, PROBABILITIES)

    @functools.cached_property
    def _keras(self) -> Any:
        return self._rebuilt("uint8")

    def _rebuilt(self, pixels: str) -> Any:
        from whatsit.graph.to_keras import to_keras
        from whatsit.models.backend import load_keras

        load_keras()
        return to_keras(self._onnx, pixels=pixels)

    @functools.cached_property
    def _pixels(self) -> Images:
        if self._samples is None:
            raise UsageError("an int8 format needs some training pictures")
        return self._samples()

    def _tflite_int8(self) -> bytes:
        """Whole numbers throughout. The input's step is one level of a pixel, so that raw pixels go in as they are."""
        import tensorflow as tf

        from whatsit.engines.litert import input_step

        samples = self._pixels.astype(np.float32)
        samples[0, 0, 0] = 0.0  # the range of pixels, whatever the pictures have of it
        samples[0, -1, -1] = 255.0
        whole_numbers = tf.lite.TargetSpec()
        whole_numbers.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        with tempfile.TemporaryDirectory() as temporary:
            _save(self._rebuilt("float32"), Path(temporary))
            content = _to_tflite(
                Path(temporary),
                optimizations=[tf.lite.Optimize.DEFAULT],
                representative_dataset=lambda: ({"image": sample[None]} for sample in samples),
                inference_input_type=tf.uint8,
                target_spec=whole_numbers,
            )
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

            model = nncf.quantize(
                model,
                nncf.Dataset([sample[None] for sample in self._pixels]),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(self._pixels),
            )
        # OpenVINO's Model API reads labels between spaces.
        model.set_rt_info(" ".join(label.replace(" ", "_") for label in self.bundle.classes), ["model_info", "labels"])
        model.set_rt_info(self.bundle.input.resize, ["model_info", "resize"])
        return model

    def _fingerprint(self) -> str:
        return hashlib.sha256(self.bundle.graph).hexdigest()

    def _preprocessing(self) -> dict[str, Any]:
        spec = self.bundle.input
        return {
            "model": self._fingerprint(),
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
                "Decode the first frame; an RGB or grey JPEG at least twice as large at 1/2, 1/4 or 1/8 (Pillow's draft).",
                "Lay transparent pictures on white; make palette, grey and CMYK pictures RGB; scale 16-bit samples to 8.",
                "Stretch to the size (on its side if it will be turned), antialiased and bilinear (Pillow's BILINEAR).",
                *(["Turn the colours of a colour profile into sRGB."] if spec.resize != RULES[0] else []),
                "Turn by the EXIF orientation.",
            ],
        }


def _to_tflite(saved_model: Path, **settings: Any) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    for name, value in settings.items():
        setattr(converter, name, value)
    content: bytes = converter.convert()
    return content


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


def find_exported(folder: Path) -> Iterator[tuple[Format, Path]]:
    """The formats that are in an export folder, with what is to be opened."""
    for target in FORMATS.values():
        path = folder / target.file
        if path.is_file() or (target.top == target.file and path.is_dir()):  # a pipe would keep its reader waiting
            yield target, path


def megabytes_of(path: Path) -> float:
    """The size of a model that is a file, two files (OpenVINO) or a folder, in units of 1,000,000 bytes."""
    files = path.rglob("*") if path.is_dir() else [path]
    if path.suffix == ".xml":
        files = [path, path.with_suffix(".bin")]
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6
    return 0.0
