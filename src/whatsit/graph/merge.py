"""Merge the graphs of several bundles into one that averages their probabilities.

What the members have in common is computed once, which `onnx.compose` does not offer (docs/decisions/0030).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Array
from whatsit.errors import ModelError
from whatsit.graph.builder import FOREIGN, OPSET, ORIGIN, OUTPUTS, PROBABILITIES, Graph, origin_of

if TYPE_CHECKING:
    import onnx

_NEEDED = {PROBABILITIES, "logits", "embedding", "ood_score"}
_SMALLEST = 1e-30  # probability whose logarithm is taken


@dataclass(frozen=True)
class Member:
    """The graph of a bundle and its share in an ensemble."""

    graph: bytes
    weight: float  # of its probabilities; all members' sum to one
    scale: float  # of its logits, before the softmax


def merge(members: Sequence[Member], size: tuple[int, int], metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Return the graph of an ensemble, with the outputs of every bundle's graph.

    Probabilities are the weighted mean of the members' `softmax(scale * logits)` (soft voting), logits their logarithm. The
    embedding is the members' side by side; so are the feature maps, on the grid of the largest, with weights such
    that the evidence of each counts as its probabilities do. The out-of-distribution score is the weighted mean.

    Where a member has no feature map, the ensemble has none.

    Members that begin alike, such as heads on the same backbone, share what they have in common.

    Args:
        members: graphs of the same classes (see `classifier.to_onnx`).
        size: (height, width) of the images that the merged graph takes; members of another size get them resized.
        metadata: of the merged graph.
    """
    merged = _Merged()
    merged.graph.shapes["image"] = (*size, 3)
    parts = [_add(merged, member, size) for member in members]
    votes = []
    for part in parts:
        scaled = merged.multiply(part.names["logits"], part.member.scale)
        votes.append(merged.multiply(merged.op("Softmax", [scaled], axis=-1), part.member.weight))
    values = {
        PROBABILITIES: merged.add(votes),
        "embedding": merged.op("Concat", [part.names["embedding"] for part in parts], axis=1),
        "ood_score": merged.add([merged.multiply(part.names["ood_score"], part.member.weight) for part in parts]),
    }
    floor = merged.op("Max", [values[PROBABILITIES], merged.constant(np.array(_SMALLEST, np.float32))])
    values["logits"] = merged.op("Log", [floor])
    classes = parts[0].shapes["logits"][0]
    merged.graph.shapes |= {
        values[PROBABILITIES]: (classes,),
        values["logits"]: (classes,),
        values["embedding"]: (sum(part.shapes["embedding"][0] for part in parts),),
        values["ood_score"]: (),
    }
    if all("feature_map" in part.names for part in parts):
        values |= _maps(merged, parts, classes)
    foreign = any(origin_of(member.graph) == FOREIGN for member in members)
    metadata = {**metadata, ORIGIN: FOREIGN} if foreign else metadata
    outputs = {name: values[name] for name in OUTPUTS if name in values}
    return merged.graph.to_model("image", outputs, metadata, as_they_are=True)


def _maps(merged: _Merged, parts: Sequence[_Part], classes: int) -> dict[str, str]:
    """Add the members' feature maps side by side, with their weights."""
    grid = max((part.map[:2] for part in parts), key=lambda side: side[0] * side[1])
    maps = [merged.stretch(part.names["feature_map"], part.map[:2], grid) for part in parts]
    # The weights of a member's map: its share of the vote, spread over as many places as the grid has.
    shares = [p.member.weight * p.member.scale * p.map[0] * p.map[1] / (grid[0] * grid[1]) for p in parts]
    evidence = [merged.multiply(p.names["gradcam_weights"], share) for p, share in zip(parts, shares, strict=True)]
    channels = sum(part.map[2] for part in parts)
    values = {
        "feature_map": merged.op("Concat", maps, axis=3),
        "gradcam_weights": merged.op("Concat", evidence, axis=2),
    }
    merged.graph.shapes |= {
        values["feature_map"]: (*grid, channels),
        values["gradcam_weights"]: (classes, channels),
    }
    return values


@dataclass
class _Merged:
    """A graph under construction that knows what it has computed already."""

    graph: Graph = field(default_factory=Graph)
    _constants: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)
    _computed: dict[bytes, list[str]] = field(default_factory=dict)

    def constant(self, value: Array) -> str:
        """Return the name of a constant of that value; equal ones are one."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constants:
            self._constants[key] = self.graph.constant(f"constant_{len(self._constants)}", value)
        return self._constants[key]

    def node(self, node: onnx.NodeProto, inputs: Sequence[str]) -> list[str]:
        """Return the outputs of a node for these inputs; add it if no equal one is there."""
        import onnx

        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:], copy.output[:]
        copy.name = ""
        copy.input.extend(inputs)
        key = copy.SerializeToString(deterministic=True)
        if key not in self._computed:
            names = [f"{node.op_type.lower()}_{len(self._computed)}_{place}" for place in range(len(node.output))]
            copy.output.extend(names)
            self.graph.nodes.append(copy)
            self._computed[key] = names
        return self._computed[key]

    def op(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Return the output of a new node with one output."""
        from onnx import helper

        return self.node(helper.make_node(kind, [], ["result"], **attributes), inputs)[0]

    def multiply(self, value: str, factor: float) -> str:
        """Return the product of a value with a number."""
        return self.op("Mul", [value, self.constant(np.array(factor, np.float32))])

    def add(self, values: Sequence[str]) -> str:
        """Return the sum of values."""
        total = values[0]
        for value in values[1:]:
            total = self.op("Add", [total, value])
        return total

    def stretch(self, value: str, have: tuple[int, ...], want: tuple[int, ...]) -> str:
        """Return channels-last `[N, H, W, C]` at another height and width.

        The antialiased bilinear filter is two products.
        """
        if have == want:
            return value
        value = self.op("Transpose", [value], perm=[0, 3, 1, 2])
        for old, new in zip(reversed(have), reversed(want), strict=True):  # along the width, then along the height
            value = self.op("MatMul", [value, self.constant(triangle_filter(old, new).T.astype(np.float32))])
            value = self.op("Transpose", [value], perm=[0, 1, 3, 2])
        return self.op("Transpose", [value], perm=[0, 2, 3, 1])


@dataclass(frozen=True)
class _Part:
    """A member inside the merged graph."""

    member: Member
    names: dict[str, str]  # of its outputs
    shapes: dict[str, tuple[int, ...]]  # of its outputs, without the batch

    @property
    def map(self) -> tuple[int, ...]:
        """Height, width and channels of its feature map."""
        return self.shapes["feature_map"]


def _add(merged: _Merged, member: Member, size: tuple[int, int]) -> _Part:
    """Add all nodes of a member."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(member.graph)
    graph = model.graph
    versions, outputs = [opset.version for opset in model.opset_import], {value.name for value in graph.output}
    if len(versions) != 1 or versions[0] < OPSET or not _NEEDED <= outputs <= {*OUTPUTS}:
        raise ModelError("a member's graph was made by another whatsit; train it anew")
    merged.graph.opset = max(merged.graph.opset, versions[0])
    names = {tensor.name: merged.constant(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    image = graph.input[0].name
    names |= {"": "", image: "image"}
    own = _shape(graph.input[0])[:2]
    for node in graph.node:
        if image in node.input and own != size:
            if node.op_type != "Cast":
                raise ModelError(f"a member's graph begins with {node.op_type}, so its pictures cannot be resized")
            names[node.output[0]] = merged.stretch(merged.op("Cast", ["image"], to=onnx.TensorProto.FLOAT), size, own)
            continue
        names |= zip(node.output, merged.node(node, [names[name] for name in node.input]), strict=True)
    shapes = {value.name: _shape(value) for value in graph.output}
    return _Part(member, {name: names[name] for name in outputs}, shapes)


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return the shape of an input or output without the batch."""
    return tuple(int(side.dim_value) for side in value.type.tensor_type.shape.dim[1:])


def triangle_filter(have: int, want: int) -> npt.NDArray[np.float64]:
    """Return the matrix `[want, have]` of Pillow's antialiased `BILINEAR`."""
    scale = have / want
    reach = max(scale, 1.0)
    centres = (np.arange(want)[:, None] + 0.5) * scale
    weights = np.maximum(0.0, 1.0 - np.abs((np.arange(have) + 0.5 - centres) / reach))
    rows: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return rows
