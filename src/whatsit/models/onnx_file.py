"""A network in an ONNX file: what it takes, and how its pixels are scaled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.arrays import Array, Float32
from whatsit.engines import EngineError
from whatsit.errors import ModelError
from whatsit.graph.builder import Graph
from whatsit.graph.fold import Body, fold, image_input
from whatsit.graph.foreign import read_checked, read_foreign
from whatsit.graph.from_keras import add_affine, add_enlarged, add_input
from whatsit.graph.tail import NCHW, NHWC
from whatsit.models.onnx_about import SCALINGS, About, about_file

if TYPE_CHECKING:
    import onnx

USUAL = 224  # pixels, of a network that takes any size
SMALLEST = 8
GREY = (0.299, 0.587, 0.114)  # of RGB, as Pillow makes grey of it (ITU-R 601)
_FLOATS = ("FLOAT", "FLOAT16")
_PIXEL = 2.0  # a mean above it, or a factor below a 50th, is of pixels from 0 to 255


@dataclass(frozen=True)
class OnnxFile:
    """A file, checked, and what is known about it."""

    path: Path
    about: About

    @classmethod
    def open(cls, path: Path, said: Mapping[str, Any] | None = None) -> OnnxFile:
        """Check a file and read the settings next to it.

        Those in `said` replace them. Raises `ModelError`, also for an input that is no picture.
        """
        file = cls(path, about_file(path).changed(said or {}, str(path)))
        read_checked(path)
        file.check_input()
        return file

    @cached_property
    def model(self) -> onnx.ModelProto:
        """What is in the file."""
        return read_foreign(self.path)

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What its maker wrote into it."""
        return {prop.key: prop.value for prop in self.model.metadata_props}

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @cached_property
    def _sides(self) -> list[int]:
        """The sides of the input; 0 for one of any length."""
        model = self.model
        try:
            value = image_input(model)
        except ModelError as error:
            raise ModelError(f"{self.path}: {error}") from None
        return [int(side.dim_value) for side in value.type.tensor_type.shape.dim]

    @cached_property
    def dtype(self) -> str:
        """The type of its input, such as `FLOAT`."""
        from onnx import TensorProto

        return str(TensorProto.DataType.Name(image_input(self.model).type.tensor_type.elem_type))

    @cached_property
    def layout(self) -> str:
        """Where its channels stand: `nchw` or `nhwc`."""
        if self.about.layout != "auto":
            return self.about.layout
        sides = self._sides
        if sides[1] in (1, 3):
            return NCHW
        if sides[3] in (1, 3) or self._is_turned():
            return NHWC
        return NCHW

    def _is_turned(self) -> bool:
        """Return whether the graph begins by putting channels first."""
        source = image_input(self.model).name
        first = next((node for node in self.model.graph.node if source in node.input), None)
        return first is not None and first.op_type == "Transpose"

    @property
    def channels(self) -> int:
        """How many it takes: 1 of a grey picture, or 3."""
        return self._sides[1 if self.layout == NCHW else 3] or 3

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) of the pictures that it takes."""
        height, width = self._sides[2:] if self.layout == NCHW else self._sides[1:3]
        usual = self.about.size or USUAL
        return height or usual, width or usual

    @property
    def is_fixed(self) -> bool:
        """Whether it takes pictures of one size only."""
        return all(self._sides[2:] if self.layout == NCHW else self._sides[1:3])

    @cached_property
    def side(self) -> int:
        """The side of its pictures. Raises `ModelError` where they are not square."""
        if self.size[0] != self.size[1]:
            raise ModelError(
                f"{self.path}: it takes pictures of {self.size[0]} x {self.size[1]} pixels, not square ones"
            )
        return self.size[0]

    def check_input(self) -> None:
        """Raise `ModelError` where the input is no picture, or of another size than said."""
        sides = self._sides
        if len(sides) != 4 or self.channels not in (1, 3) or sides[0] > 1:
            raise ModelError(
                f"{self.path}: its input has the shape {sides} (0: any), not a batch of pictures such as [0, 3, 224, 224]; "
                "export it with a dynamic batch, or a batch of 1"
            )
        if self.dtype not in (*_FLOATS, "UINT8"):
            raise ModelError(f"{self.path}: its pictures are of the type {self.dtype}; export it with float32 pictures")
        if self.channels == 1 and len(self.about.mean) > 1:
            raise ModelError(f"{self.path}: it takes grey pictures, so 'mean' and 'std' are one number each")
        said = self.about.size
        if said and self.is_fixed and self.size != (said, said):
            raise ModelError(
                f"{self.path}: it takes pictures of {self.size[0]} x {self.size[1]} pixels only, where a size of {said} is said; "
                "leave out the size, or export it with a dynamic height and width"
            )
        if min(self.size) < SMALLEST:
            raise ModelError(
                f"{self.path}: it takes pictures of {self.size[0]} x {self.size[1]} pixels, which are too small"
            )

    def folded(self, size: tuple[int, int]) -> Body:
        """Return its operators for one picture of (height, width). Raises `ModelError`."""
        shape = (1, self.channels, *size) if self.layout == NCHW else (1, *size, self.channels)
        try:
            return fold(self.model, shape)
        except (ModelError, EngineError) as error:
            raise ModelError(f"{self.path}: {error}") from None

    @cached_property
    def scaling(self) -> tuple[Float32, Float32]:
        """What pixels from 0 to 255 are multiplied by, and what is added: `[1]` or `[3]`."""
        mean, std = (np.array(value, np.float64) for value in self._mean_and_std())
        return (1.0 / (255.0 * std)).astype(np.float32), (-mean / std).astype(np.float32)

    def _mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if self.about.says_scaling:
            return self.about.mean, self.about.std
        if self._is_of_ultralytics:
            return SCALINGS["0..1"]
        return SCALINGS["0..255" if self._scales_itself else "imagenet" if self.channels == 3 else "0..1"]

    @cached_property
    def _scales_itself(self) -> bool:
        """Whether its first arithmetic is on pixels from 0 to 255."""
        if self.dtype == "UINT8":
            return True
        from onnx import helper, numpy_helper

        graph = self.model.graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                constants[node.output[0]] = numpy_helper.to_array(helper.get_attribute_value(node.attribute[0]))
        value = image_input(self.model).name
        for node in graph.node:
            if value not in node.input:
                continue
            others = [constants[name] for name in node.input if name in constants]
            if node.op_type in ("Mul", "Div", "Sub", "Add") and len(others) == 1:
                return _is_of_pixels(node.op_type, others[0])
            if node.op_type not in ("Transpose", "Cast", "Identity", "Split", "Gather", "Concat", "Slice"):
                return False
            value = node.output[0]
        return False

    @property
    def _is_of_ultralytics(self) -> bool:
        """Whether it is a YOLO classifier, which takes pixels from 0 to 1."""
        return "Ultralytics" in self.metadata.get("author", "")

    @property
    def knows_scaling(self) -> bool:
        """Whether something says how pixels are scaled."""
        return self.about.says_scaling or self._is_of_ultralytics or self._scales_itself

    @property
    def note(self) -> str:
        """What was assumed because nothing says it; empty where nothing was."""
        if self.knows_scaling:
            return ""
        taken = "ImageNet's mean and standard deviation are taken" if self.channels == 3 else "0 to 1 is taken"
        return (
            f"nothing says how its pixels are scaled, so {taken} (another: scaling = "
            f'"-1..1" in {self.path.with_suffix(".toml").name})'
        )

    def add_pixels(self, graph: Graph, upscale: int) -> str:
        """Add the way from raw pixels to the network's input; return its name."""
        from onnx import TensorProto

        height, width = (side // upscale for side in self.size)
        value = add_input(graph, (height, width, 3))
        if upscale > 1:
            value = add_enlarged(graph, "enlarge", value, (upscale, upscale))
        shape = (*self.size, self.channels)
        if self.channels == 1:
            value = _add_grey(graph, value, shape)
        elif self.about.channels == "bgr":
            order = graph.constant("bgr.order", np.array([2, 1, 0], np.int64))
            value = graph.op("Gather", [value, order], shape, axis=1)
        if self.dtype != "UINT8":
            value = add_affine(graph, "scale", value, *self.scaling)
        if self.layout == NHWC:
            value = graph.op("Transpose", [value], shape, perm=[0, 2, 3, 1])
        if self.dtype == "FLOAT":
            return value
        if self.dtype == "UINT8":
            value = graph.op("Round", [value], shape)
        return graph.op("Cast", [value], shape, to=TensorProto.DataType.Value(self.dtype))


def add_body(graph: Graph, body: Body, pixels: str) -> dict[str, str]:
    """Add the operators of a network behind its pixels; return names of values."""
    import onnx

    names = {"": "", body.source: pixels}
    graph.opset = max(graph.opset, body.opset)
    for node in body.nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:], copy.output[:]
        for name in node.input:
            if name in body.constants and name not in names:
                names[name] = f"network/{name}"
                graph.weights[names[name]] = body.constants[name]
            copy.input.append(names[name])
        names |= {name: f"network/{name}" for name in node.output if name}
        copy.output.extend(names[name] for name in node.output)
        graph.nodes.append(copy)
    return names


def _add_grey(graph: Graph, value: str, shape: tuple[int, ...]) -> str:
    weights = graph.constant("grey.weights", np.array(GREY, np.float32).reshape(3, 1, 1))
    axis = graph.constant("grey.axis", np.array([1], np.int64))
    return graph.op("ReduceSum", [graph.op("Mul", [value, weights], (*shape[:2], 3)), axis], shape)


def _is_of_pixels(kind: str, constant: Array) -> bool:
    size = np.abs(np.asarray(constant, np.float64)).reshape(-1)
    if not len(size) or not np.isfinite(size).all():
        return False
    if kind == "Mul":
        return bool(size.max() < 1 / 50)
    if kind == "Div":
        return bool(size.min() > 50)
    return bool(size.max() > _PIXEL)
