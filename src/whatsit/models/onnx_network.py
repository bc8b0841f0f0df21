"""A backbone from an ONNX file, as the frozen path of training takes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.arrays import Float32, Images
from whatsit.errors import ModelError
from whatsit.graph.builder import FOREIGN, ORIGIN, Graph
from whatsit.graph.fold import Body
from whatsit.graph.from_keras import trace
from whatsit.graph.lift import lift, require_same
from whatsit.graph.tail import NCHW, NHWC, FeatureMap, Tail
from whatsit.images.views import ORIGINAL
from whatsit.models.classifier import Ending
from whatsit.models.onnx_file import OnnxFile, add_body
from whatsit.models.unknown import Mahalanobis

if TYPE_CHECKING:
    import keras
    import onnx

MAX_WIDTH = 16_384  # features
# Outputs that are taken first where nobody says which; the others in the order they have.
_PREFERRED = ("image_embeds", "last_hidden_state")
_CLASSES = frozenset([1000, 1001, 11_221, 21_841, 21_843])  # of ImageNet's data sets, with and without a background

_POOLED = {
    "flat": "as it is",
    "mean": "its mean over the picture",
    "class": "its class token",
    "class+mean": "its class token and the mean of the others",
}


@dataclass(frozen=True)
class Part:
    """A value of the network that becomes features."""

    value: str
    shape: tuple[int, ...]  # of one picture, the batch included
    pool: str  # "flat", "mean", "class" or "class+mean"
    layout: str = NCHW  # of a map
    first: int = 0  # tokens before those of the places of the picture

    @property
    def width(self) -> int:
        """How many features it gives."""
        if self.pool == "flat":
            return math.prod(self.shape)
        channels = self.shape[1] if len(self.shape) == 4 and self.layout == NCHW else self.shape[-1]
        return 2 * channels if self.pool == "class+mean" else channels


def parts_of(file: OnnxFile, body: Body) -> tuple[Part, ...]:
    """Return what of a network becomes features, the deepest last.

    Raises `ModelError`.
    """
    names = file.about.output or (_chosen(file, body),)
    parts = []
    for name in names:
        if name not in body.shapes or name in body.constants:
            known = ", ".join(body.outputs[:10])
            raise ModelError(f"{file.path}: it has no value '{name}' that depends on the picture; its outputs: {known}")
        parts.append(_part(file, body, name))
    width = sum(part.width for part in parts)
    if not 1 < width <= MAX_WIDTH:
        raise ModelError(
            f"{file.path}: {width:,} features for each picture, where 2 to {MAX_WIDTH:,} are taken; say another output or "
            f'pool = "mean" in {file.path.with_suffix(".toml").name}'
        )
    return tuple(parts)


def _chosen(file: OnnxFile, body: Body) -> str:
    """Return the output that describes the picture best; not the classes of ImageNet."""
    names = [name for name in body.outputs if name in body.shapes and 2 <= len(body.shapes[name]) <= 4]
    if not names:
        raise ModelError(
            f"{file.path}: none of its outputs ({', '.join(body.outputs[:5])}) is an array for each picture"
        )
    preferred = [name for name in _PREFERRED if name in names]
    name = (preferred or names)[0]
    if math.prod(body.shapes[name]) != max(body.shapes[name]):
        return name
    tail = Tail(body)
    logits = tail.softmax(name)
    dense = tail.dense(logits or name)
    if dense is not None and (logits is not None or max(body.shapes[name]) in _CLASSES):
        return dense.value
    return name


def _part(file: OnnxFile, body: Body, name: str) -> Part:
    shape, pool = body.shapes[name], file.about.pool
    if len(shape) == 4 and pool in ("auto", "mean") and math.prod(shape) != max(shape):
        square = [shape[2] == shape[3], shape[1] == shape[2]]
        layout = file.layout if square[0] == square[1] else NCHW if square[0] else NHWC
        return Part(name, shape, "mean", layout)
    if len(shape) == 3 and shape[1] > 1 and pool != "none":
        places = math.isqrt(shape[1]) ** 2
        first = shape[1] - places if shape[1] - places <= 16 else 0
        pool = ("class+mean" if first else "mean") if pool == "auto" else pool
        return Part(name, shape, pool, first=max(first, 1) if pool == "class" else first)
    return Part(name, shape, "flat")


@dataclass(frozen=True)
class OnnxNetwork:
    """A `Network` of an ONNX file. See `models/network.py`."""

    file: OnnxFile
    body: Body  # for any number of pictures
    parts: tuple[Part, ...]
    map: FeatureMap | None  # whose mean the last features are, for class activation maps
    upscale: int

    @property
    def size(self) -> tuple[int, int]:
        """See `Network`."""
        height, width = (side // self.upscale for side in self.file.size)
        return height, width

    @property
    def width(self) -> int:
        """See `Network`."""
        return sum(part.width for part in self.parts)

    @property
    def origin(self) -> Mapping[str, Any]:
        """See `Network`."""
        parts = {part.value: part.pool for part in self.parts}
        return {"file": self.file.path.name, "sha256": self.file.sha256, "features": parts}

    def begin(self, views: Sequence[str]) -> tuple[Graph, dict[str, str]]:
        """Return a graph up to `embedding`, and `feature_map` where there is one."""
        graph = Graph(tuple(views))
        pixels = self.file.add_pixels(graph, self.upscale)
        names = add_body(graph, self.body, pixels)
        found = [_add_features(graph, part, names[part.value], self.body) for part in self.parts]
        joined = graph.op("Concat", found, (self.width,), axis=1) if len(found) > 1 else found[0]
        values = {"embedding": joined}
        if self.map:
            values["feature_map"] = add_map(graph, self.map, names[self.map.value], self.body)
        graph.shared |= set(values.values())
        return graph, values

    def features_graph(self) -> bytes:
        """See `Network`."""
        return self._features

    @cached_property
    def _features(self) -> bytes:
        graph, values = self.begin((ORIGINAL,))
        content: bytes = graph.to_model("image", {"embedding": values["embedding"]}, {}).SerializeToString()
        return content

    def embed(self, pixels: Images) -> Float32:
        """See `Network`."""
        embedding: Float32 = self._engine.run(pixels)[0]
        return embedding

    @cached_property
    def _engine(self) -> Any:
        from whatsit.engines.onnxruntime import ONNXRuntimeEngine

        return ONNXRuntimeEngine(self._features, ("embedding",), None)

    def with_head(self, head: keras.Model, temperature: float) -> OnnxClassifier:
        """See `Network`."""
        return OnnxClassifier(self, head, temperature)

    @property
    def summary(self) -> str:
        """What its features are, and what was assumed about its pixels."""
        parts = ", ".join(f"'{part.value}' ({_POOLED[part.pool]})" for part in self.parts)
        told = f"{self.file.path.name}: {self.width:,} features of {parts}, at {self.file.size[0]} pixels"
        return f"{told}; {self.file.note}" if self.file.note else told


@dataclass(frozen=True)
class OnnxClassifier:
    """A `Classifier` of an ONNX network with a Keras head."""

    network: OnnxNetwork
    head: keras.Model
    temperature: float

    def to_onnx(self, known: Mahalanobis, about: Mapping[str, str], views: Sequence[str]) -> onnx.ModelProto:
        """See `Classifier`."""
        graph, names = self.network.begin(views)
        _, value = trace(self.head, behind=(graph, names["embedding"]))
        layers = {layer.name: layer for layer in self.head.layers}
        names |= {name: value(layers[name].output) for name in ("hidden", "logits") if name in layers}
        ending = Ending(layers, 1.0 / self.temperature, known)
        return ending.add_to(graph, names, names["embedding"], {**about, ORIGIN: FOREIGN})

    def to_keras(self, views: Sequence[str]) -> None:
        """See `Classifier`."""


def open_networks(path: Path, size: int, upscale: int, depths: Sequence[str]) -> dict[str, OnnxNetwork]:
    """Return the network in an ONNX file, ready for any number of pictures.

    Args:
        path: of the file.
        size: at which the network works, in pixels.
        upscale: pictures are smaller by this factor and enlarged inside the graph.
        depths: `last` for its last output only, `all` for all that are named. Of one output there is one network.

    Raises:
        ModelError: the file is refused, or cannot be used.
    """
    file = OnnxFile.open(path, {"size": size})
    folded = file.folded(file.size)
    parts = parts_of(file, folded)
    if len(parts) == 1:
        return {depths[0]: _open(file, folded, parts, upscale)}
    return {depth: _open(file, folded, parts[-1:] if depth == "last" else parts, upscale) for depth in depths}


def _open(file: OnnxFile, folded: Body, parts: tuple[Part, ...], upscale: int) -> OnnxNetwork:
    last = parts[-1]
    where = FeatureMap(last.value, last.layout) if last.pool == "mean" and len(last.shape) == 4 else None
    if last.pool == "flat":
        where = Tail(folded).pooled(last.value)
    values = list(dict.fromkeys([part.value for part in parts] + ([where.value] if where else [])))
    try:
        body = lift(folded, values)
        require_same(file.model, body, values)
    except ModelError as error:
        raise ModelError(f"{file.path}: {error}") from None
    return OnnxNetwork(file, body, parts, where, upscale)


def add_flat(graph: Graph, value: str, width: int, kind: int) -> str:
    """Add a value of this type as rows `[N, width]`, float32."""
    from onnx import TensorProto

    if kind != TensorProto.FLOAT:
        value = graph.op("Cast", [value], (width,), to=TensorProto.FLOAT)
    shape = graph.constant(f"rows.{width}", np.array([-1, width], np.int64))
    return graph.op("Reshape", [value, shape], (width,))


def _add_features(graph: Graph, part: Part, value: str, body: Body) -> str:
    """Add the features `[N, F]` of a value, float32."""
    from onnx import TensorProto

    kind, width = body.types[part.value], part.width
    if part.pool == "flat":
        return add_flat(graph, value, width, kind)
    if kind != TensorProto.FLOAT:
        value = graph.op("Cast", [value], part.shape[1:], to=TensorProto.FLOAT)
    if len(part.shape) == 4:
        axes = graph.constant(f"pool.{part.layout}", np.array([2, 3] if part.layout == NCHW else [1, 2], np.int64))
        return graph.op("ReduceMean", [value, axes], (width,), keepdims=0)
    channels, found = part.shape[-1], []
    if part.pool != "mean":
        place = graph.constant("pool.class", np.array(0, np.int64))
        found.append(graph.op("Gather", [value, place], (channels,), axis=1))
    if part.pool != "class":
        axes = graph.constant("pool.tokens", np.array([1], np.int64))
        start, end = (graph.constant(f"pool.{n}", np.array([n], np.int64)) for n in (part.first, part.shape[1]))
        places = graph.op("Slice", [value, start, end, axes], (part.shape[1] - part.first, channels))
        found.append(graph.op("ReduceMean", [places, axes], (channels,), keepdims=0))
    return graph.op("Concat", found, (width,), axis=1) if len(found) > 1 else found[0]


def add_map(graph: Graph, where: FeatureMap, value: str, body: Body) -> str:
    """Add a map as this graph holds one: float32, channels first."""
    from onnx import TensorProto

    _, *sides = body.shapes[where.value]
    shape = (*sides[1:], sides[0]) if where.layout == NCHW else tuple(sides)
    value = graph.op("Cast", [value], shape, to=TensorProto.FLOAT)
    return value if where.layout == NCHW else graph.op("Transpose", [value], shape, perm=[0, 3, 1, 2])
