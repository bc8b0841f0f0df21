"""The formats of `whatsit export`: a graph converted, and quantized.

Every file takes raw pixels, uint8 RGB `[N, H, W, 3]`, and gives calibrated probabilities, float32 `[N, K]`. A new format is a
function that writes it and a row of `FORMATS`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from whatsit.engines.base import Images
from whatsit.engines.litert import model_in_header
from whatsit.errors import MissingExtraError, ModelError, UsageError, WhatsitError, suggest
from whatsit.files import move_into_place, written_by_others
from whatsit.graph.builder import EXPECTED_COSTS, FOREIGN, PROBABILITIES, origin_of
from whatsit.graph.check import output_names
from whatsit.graph.costs import costs_of
from whatsit.graph.extract import extract
from whatsit.graph.for_int8 import for_int8
from whatsit.graph.precision import store_weights
from whatsit.graph.tflite_file import Description, slimmed, with_metadata
from whatsit.graph.to_c import to_header
from whatsit.graph.to_coreml import write_coreml
from whatsit.graph.to_tflite import save_model, to_tflite, to_tflite_int8
from whatsit.process import silent_descriptor
from whatsit.version import __version__

REJECTED = "-REJECTED"
NAMED = 10  # classes, in the description of a model


@dataclass
class Converter:
    """Convert one graph to any number of formats; what they share is computed once."""

    graph: bytes  # of a bundle
    labels: Sequence[str]
    resize: str  # the rule
    # Training images as pixels, uint8 [N, H, W, 3], by which the int8 formats are quantized.
    samples: Callable[[], Images] | None = None
    precision: str = "float32"  # of the weights of the web format, one of `precision.PRECISIONS`
    author: str = ""  # of the model, and the terms of its use, for formats that say so
    license: str = ""

    def write(self, target: Format, folder: Path, shown: Path | None = None) -> Path:
        """Write a format into a folder that exists; return the path to open.

        `shown` is the folder that errors name instead.

        Raises:
            DiskError: the disk is full.
            ModelError: the graph cannot be turned into this format.
        """
        path = folder / target.file
        try:
            with (
                warnings.catch_warnings(),
                silent_descriptor(1),
                silent_descriptor(2),
                written_by_others(path if shown is None else shown / target.file, folder, len(self.graph)),
            ):
                warnings.simplefilter("ignore")  # of converters, about themselves
                target.write(self, path)
        except (WhatsitError, MemoryError, ImportError):
            raise
        except Exception as error:  # each converter has errors of its own
            reason = (str(error).strip().splitlines() or [""])[0][:200]
            raise ModelError(
                f"the model cannot be written as {target.name}: {type(error).__name__}: {reason}"
            ) from None
        return path

    @functools.cached_property
    def onnx(self) -> bytes:
        """The part of the graph that the probabilities need."""
        import onnx

        part = extract(self.graph, PROBABILITIES)
        onnx.checker.check_model(part, full_check=True)
        content: bytes = part.SerializeToString()
        return content

    @functools.cached_property
    def onnx_with_costs(self) -> bytes:
        """The same, with the expected costs where the graph has them."""
        if EXPECTED_COSTS not in output_names(self.graph):
            return self.onnx
        content: bytes = extract(self.graph, PROBABILITIES, EXPECTED_COSTS).SerializeToString()
        return content

    @functools.cached_property
    def keras(self) -> Any:
        """The graph as a Keras model that takes uint8 pixels."""
        return self.rebuild("uint8")

    @functools.cached_property
    def description(self) -> Description:
        """What a file that is used without whatsit says about the model."""
        import onnx

        shape = onnx.load_from_string(self.onnx).graph.input[0].type.tensor_type.shape.dim
        height, width = int(shape[1].dim_value), int(shape[2].dim_value)
        some = ", ".join(self.labels[:NAMED]) + (", ..." if len(self.labels) > NAMED else "")
        text = (
            f"Tells {len(self.labels)} classes apart: {some}. It takes pictures stretched to {width} x {height} pixels, by the "
            f"rule {self.resize}."
        )
        author = self.author or f"whatsit {__version__}, for somebody who gave no name"
        return Description(
            text, self.labels, (width, height), author, self.license or "not stated", costs_of(self.graph)
        )

    def possible(self) -> list[Format]:
        """Return the formats that this graph can be turned into.

        Only those that this machine runs as their users do.
        """
        return [
            target
            for target in FORMATS.values()
            if target.name != WEB and not target.stand_in and not (self.foreign and "tensorflow" in target.needs)
        ]

    @property
    def foreign(self) -> bool:
        """Whether the network came as an ONNX file, so that it has no Keras layers."""
        return origin_of(self.graph) == FOREIGN

    @functools.cached_property
    def keras_for_int8(self) -> Any:
        """The graph as a Keras model that takes float32 pixels, to be quantized."""
        return self.rebuild("float32", int8=True)

    def rebuild(self, pixels: str, *, int8: bool = False) -> Any:
        """Return the graph as a Keras model that takes pixels of this dtype.

        With `int8` its dense layers are made for being quantized.
        """
        from whatsit.engines.tensorflow import load_keras
        from whatsit.graph.to_keras import to_keras

        if self.foreign:
            raise ModelError(
                "the network came as an ONNX file, which has no Keras layers to write; formats for it are onnx, openvino and "
                "openvino-int8"
            )
        load_keras()
        return to_keras(for_int8(self.onnx, self.pixels) if int8 else self.onnx_with_costs, pixels=pixels)

    @functools.cached_property
    def pixels(self) -> Images:
        """Training images to quantize by."""
        if self.samples is None:
            raise UsageError("an int8 format needs some training pictures")
        return self.samples()


def _write_onnx(converter: Converter, path: Path) -> None:
    path.write_bytes(converter.onnx_with_costs)


def _write_web(converter: Converter, path: Path) -> None:
    """Write the graph of a website: predictions, unknown pictures, evidence."""
    import onnx

    has = output_names(converter.graph)
    shown = _EVIDENCE if {*_EVIDENCE} <= {*has} else ("logits",)
    model = extract(converter.graph, PROBABILITIES, *(name for name in ("ood_score", *shown) if name in has))
    store_weights(model, converter.precision)
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir()
    path.write_bytes(model.SerializeToString())


def _write_keras(converter: Converter, path: Path) -> None:
    converter.keras.save(path)


def _write_saved_model(converter: Converter, path: Path) -> None:
    save_model(converter.keras, path)


def _write_tflite(converter: Converter, path: Path) -> None:
    path.write_bytes(with_metadata(to_tflite(converter.keras), converter.description))


def _write_tflite_int8(converter: Converter, path: Path) -> None:
    content = to_tflite_int8(converter.keras_for_int8, converter.pixels)
    path.write_bytes(with_metadata(content, converter.description))


def _write_c(converter: Converter, path: Path) -> None:
    content = slimmed(to_tflite_int8(converter.keras_for_int8, converter.pixels, whole=True))
    path.write_text(to_header(content, converter.description), encoding="ascii")


def _write_coreml(converter: Converter, path: Path) -> None:
    write_coreml(converter.onnx, converter.description, path)


def _write_openvino(converter: Converter, path: Path, *, int8: bool = False) -> None:
    import openvino

    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "model.onnx"
        source.write_bytes(converter.onnx if int8 else converter.onnx_with_costs)
        model = openvino.convert_model(source)
    if int8:
        import nncf

        samples = nncf.Dataset([sample[None] for sample in converter.pixels])
        preset = nncf.QuantizationPreset.MIXED
        kind = nncf.ModelType.TRANSFORMER if _has_attention(converter.onnx) else None
        model = nncf.quantize(model, samples, preset=preset, subset_size=len(converter.pixels), model_type=kind)
    # OpenVINO's Model API reads labels between spaces.
    model.set_rt_info(" ".join(label.replace(" ", "_") for label in converter.labels), ["model_info", "labels"])
    model.set_rt_info(converter.resize, ["model_info", "resize"])
    path.parent.mkdir()
    openvino.save_model(model, path, compress_to_fp16=False)


def _has_attention(graph: bytes) -> bool:
    """Return whether a graph has softmaxes before its last one, as attention has."""
    import onnx

    return [node.op_type for node in onnx.load_from_string(graph).graph.node].count("Softmax") > 1


@dataclass(frozen=True)
class Format:
    """One of the formats of `whatsit export`."""

    name: str
    file: str  # in the export folder; of a format that is a folder, that folder or the file to open in it
    example: str  # the script that shows its use; empty where it brings its own
    needs: tuple[str, ...]  # packages that write and run it
    write: Callable[[Converter, Path], None]
    stand_in: str = ""  # what computes it here, where its own runtime is for other machines
    int8: bool = False  # whether weights and activations are rounded to 8 bits, by the range of some training images

    def final(self, *, single_file: bool) -> Format:
        """Return the format as it lies in the export folder: a page may be a single file."""
        return replace(self, file=SINGLE_PAGE) if single_file and self.name == WEB else self

    def as_int8(self, precision: str) -> bool:
        """Return whether this is the web format with weights of 8 bits."""
        return self.name == WEB and precision == "int8"

    @property
    def gated(self) -> bool:
        """Whether the test pictures may refuse it."""
        return self.int8 or self.name == WEB

    @property
    def has_costs(self) -> bool:
        """Whether the file gives expected costs, where the model has costs.

        Whole numbers would be too coarse for them.
        """
        return not self.int8 and not self.stand_in and self.name != WEB

    @property
    def title(self) -> str:
        """Its name, with what computes it here where that is not its own runtime."""
        return f"{self.name} (by {self.stand_in})" if self.stand_in else self.name

    @property
    def top(self) -> str:
        """The file, or the folder, that lies in the export folder."""
        return PurePosixPath(self.file).parts[0]

    def rejected(self) -> Format:
        """Return the format under the name that a file gets when the gate refuses it."""
        top = PurePosixPath(self.top)
        return replace(self, file=self.file.replace(self.top, f"{top.stem}{REJECTED}{top.suffix}", 1))


WEB, SINGLE_PAGE = "web", "web.html"
_EVIDENCE = ("feature_map", "gradcam_weights")  # outputs of graphs with Grad-CAM
_TENSORFLOW = ("onnx", "keras", "tensorflow")
_LITERT = (*_TENSORFLOW, "ai_edge_litert")
FORMATS = {
    target.name: target
    for target in (
        Format("onnx", "model.onnx", "predict_onnx.py", ("onnx",), _write_onnx),
        Format("keras", "best_model.keras", "predict_keras.py", _TENSORFLOW, _write_keras),
        Format("h5", "best_model.h5", "predict_keras.py", (*_TENSORFLOW, "h5py"), _write_keras),
        Format("tflite", "model.tflite", "predict_tflite.py", _LITERT, _write_tflite),
        Format("tflite-int8", "model_quantized.tflite", "predict_tflite.py", _LITERT, _write_tflite_int8, int8=True),
        Format("c", "whatsit_model.h", "main_tflm.cc", _LITERT, _write_c, "LiteRT", int8=True),
        Format("coreml", "model.mlpackage", "predict_coreml.py", ("onnx", "coremltools"), _write_coreml, "ONNX Runtime"),
        Format("openvino", "openvino/model.xml", "predict_openvino.py", ("onnx", "openvino"), _write_openvino),
        Format("openvino-int8", "openvino_int8/model.xml", "predict_openvino.py", ("onnx", "openvino", "nncf"),
               functools.partial(_write_openvino, int8=True), int8=True),
        Format("saved-model", "saved_model", "predict_saved_model.py", _TENSORFLOW, _write_saved_model),
        Format(WEB, "web/model.onnx", "", ("onnx",), _write_web),  # the page around it: bundle/website.py
    )
}  # fmt: skip


def parse_formats(names: str) -> list[Format]:
    """Return the formats of a list such as `onnx,tflite-int8`.

    Raises `UsageError` for an unknown one, `MissingExtraError` where one cannot be written here.
    """
    targets = []
    for name in dict.fromkeys(word.strip() for word in names.split(",")):
        if name not in FORMATS:
            raise UsageError(f"unknown format '{name}'{suggest(name, FORMATS)}")
        require(FORMATS[name])
        targets.append(FORMATS[name])
    return targets


def require(target: Format) -> None:
    """Raise `MissingExtraError` where the format needs a package that is missing."""
    for package in target.needs:
        if importlib.util.find_spec(package) is None:
            extra = {"ai_edge_litert": "export", "coremltools": "coreml", "nncf": "export"}.get(package, "train")
            raise MissingExtraError(f"The format {target.name}", extra, package.replace("_", "-"))


def find_exported(folder: Path) -> Iterator[tuple[Format, Path]]:
    """Yield the formats that are in an export folder, with the path to open."""
    for target in FORMATS.values():
        path = folder / target.file
        if path.is_file() or (target.top == target.file and path.is_dir()):  # a pipe would keep its reader waiting
            yield target, path
    if (page := folder / SINGLE_PAGE).is_file():
        yield FORMATS[WEB], page


def move_exported(target: Format, source: Path, folder: Path, *, rejected: bool) -> Path:
    """Move a tested file to its name; return its path.

    An earlier one of the other name, rejected or not, is removed.

    Raises `DiskError`, `OSError`.
    """
    named, other = (target.rejected(), target) if rejected else (target, target.rejected())
    move_into_place(source / target.top, folder / named.top)
    left = folder / other.top
    if target.gated and left.is_dir() and not left.is_symlink():
        shutil.rmtree(left)
    elif target.gated:
        left.unlink(missing_ok=True)
    return folder / named.file


def megabytes_of(path: Path) -> float:
    """Return the size of an exported file or folder, in units of 1,000,000 bytes."""
    files = path.rglob("*") if path.is_dir() else [path]
    if path.suffix == ".xml":
        files = [path, path.with_suffix(".bin")]
    if path.suffix == ".h":  # the text of a C header is five times as long as the model in it
        return len(model_in_header(path.read_text(encoding="ascii"))) / 1e6
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6
    return 0.0
