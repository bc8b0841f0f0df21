"""One graph of several: their calibrated probabilities averaged, and what they have in common computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whatsit.errors import ModelError
from whatsit.graph.builder import OPSET, OUTPUTS, PROBABILITIES, Array, Graph

if TYPE_CHECKING:
    import onnx

_SMALLEST = 1e-30  # probability whose logarithm is taken


@dataclass(frozen=True)
class Member:
    """A graph of a bundle, and how it is listened to."""

    graph: bytes
    weight: float  # of its probabilities; all members' sum to one
    scale: float  # of its logits, before the softmax


@dataclass
class _Merged:
    """A graph under construction that knows what it has computed already."""

    graph: Graph = field(default_factory=Graph)
    _constants: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)
    _computed: dict[bytes, list[str]] = field(default_factory=dict)

    def constant(self, value: Array) -> str:
        """The name of a constant of that value; equal ones are one."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constants:
            self._constants[key] = self.graph.constant(f"constant_{len(self._constants)}", value)
        return self._constants[key]

    def node(self, node: onnx.NodeProto, inputs: Sequence[str]) -> list[str]:
        """The names of what a node gives for these inputs; it is added where no equal one is there."""
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
        """`node` for one that is made here."""
        from onnx import helper

        return self.node(helper.make_node(kind, [], ["result"], **attributes), inputs)[0]


def merge(members: Sequence[Member], size: tuple[int, int], metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The graph of an ensemble, with the outputs of every bundle's graph (see `classifier.to_onnx`).

    Probabilities are the weighted mean of the members' `softmax(scale * logits)` (soft voting), logits their logarithm. The
    embedding is the members' side by side; so are the feature maps, on the grid of the largest, with weights such
    that the evidence of each counts as its probabilities do. The score for strangers is the weighted mean.

    Members that begin alike, such as heads on the same backbone, share what they have in common.

    Args:
        members: graphs of the same classes.
        size: (height, width) of the pictures that the merged graph takes; members of another size get them resized.
        metadata: of the merged graph.
    """
    merged = _Merged()
    merged.graph.shapes["image"] = (*size, 3)
    parts = [_add(merged, member, size) for member in members]
    shapes = [part.shapes for part in parts]
    classes = shapes[0]["logits"][0]
    grid = max((shape["feature_map"][:2] for shape in shapes), key=lambda side: side[0] * side[1])
    heard = [_weighed(merged, _probabilities(merged, part), part.weight) for part in parts]
    maps = [_on_grid(merged, part, grid) for part in parts]
    evidence = [_evidence(merged, part, grid) for part in parts]
    values = {
        PROBABILITIES: _total(merged, heard),
        "embedding": merged.op("Concat", [part.outputs["embedding"] for part in parts], axis=1),
        "feature_map": merged.op("Concat", maps, axis=3),
        "gradcam_weights": merged.op("Concat", evidence, axis=2),
        "ood_score": _total(merged, [_weighed(merged, part.outputs["ood_score"], part.weight) for part in parts]),
    }
    floor = merged.op("Max", [values[PROBABILITIES], merged.constant(np.array(_SMALLEST, np.float32))])
    values["logits"] = merged.op("Log", [floor])
    channels = sum(shape["feature_map"][2] for shape in shapes)
    merged.graph.shapes |= {
        values[PROBABILITIES]: (classes,),
        values["logits"]: (classes,),
        values["embedding"]: (sum(shape["embedding"][0] for shape in shapes),),
        values["feature_map"]: (*grid, channels),
        values["gradcam_weights"]: (classes, channels),
        values["ood_score"]: (),
    }
    return merged.graph.to_model("image", {name: values[name] for name in OUTPUTS}, metadata, as_they_are=True)


@dataclass(frozen=True)
class _Part:
    outputs: dict[str, str]  # of the member's graph: the names of their values in the merged one
    shapes: dict[str, tuple[int, ...]]  # of those, without the batch
    weight: float
    scale: float


def _add(merged: _Merged, member: Member, size: tuple[int, int]) -> _Part:
    """Add all of a member's nodes."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(member.graph)
    graph = model.graph
    if [opset.version for opset in model.opset_import] != [OPSET] or {o.name for o in graph.output} != set(OUTPUTS):
        raise ModelError("a member's graph was made by another whatsit; train it anew")
    names = {tensor.name: merged.constant(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    names[""] = ""
    height, width = (int(side.dim_value) for side in graph.input[0].type.tensor_type.shape.dim[1:3])
    for node in graph.node:
        if graph.input[0].name in node.input and (height, width) != size:
            if node.op_type != "Cast":
                raise ModelError(f"a member's graph begins with {node.op_type}, so its pictures cannot be resized")
            names[node.output[0]] = _resized(merged, size, (height, width))
            continue
        inputs = ["image" if name == graph.input[0].name else names[name] for name in node.input]
        names |= zip(node.output, merged.node(node, inputs), strict=True)
    shapes = {
        value.name: tuple(int(side.dim_value) for side in value.type.tensor_type.shape.dim[1:])
        for value in graph.output
    }
    return _Part({name: names[name] for name in OUTPUTS}, shapes, member.weight, member.scale)


def _resized(merged: _Merged, size: tuple[int, int], wanted: tuple[int, int]) -> str:
    """The pictures at another size, float `[N, h, w, 3]`."""
    import onnx

    return _stretched(merged, merged.op("Cast", ["image"], to=onnx.TensorProto.FLOAT), size, wanted)


def _stretched(merged: _Merged, value: str, have: tuple[int, ...], want: tuple[int, ...]) -> str:
    """Channels-last `[N, H, W, C]` at another height and width, by the antialiased bilinear filter as two products."""
    value = merged.op("Transpose", [value], perm=[0, 3, 1, 2])
    for old, new in zip(reversed(have), reversed(want), strict=True):  # along the width, then along the height
        value = merged.op("MatMul", [value, merged.constant(triangle_filter(old, new).T.astype(np.float32))])
        value = merged.op("Transpose", [value], perm=[0, 1, 3, 2])
    return merged.op("Transpose", [value], perm=[0, 2, 3, 1])


def triangle_filter(have: int, want: int) -> npt.NDArray[np.float64]:
    """The matrix `[want, have]` of an antialiased bilinear filter along one side, as Pillow's `BILINEAR` has it."""
    scale = have / want
    reach = max(scale, 1.0)
    centres = (np.arange(want)[:, None] + 0.5) * scale
    weights = np.maximum(0.0, 1.0 - np.abs((np.arange(have) + 0.5 - centres) / reach))
    rows: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return rows


def _probabilities(merged: _Merged, part: _Part) -> str:
    """A member's probabilities."""
    scaled = merged.op("Mul", [part.outputs["logits"], merged.constant(np.array(part.scale, np.float32))])
    return merged.op("Softmax", [scaled], axis=-1)


def _weighed(merged: _Merged, value: str, weight: float) -> str:
    return merged.op("Mul", [value, merged.constant(np.array(weight, np.float32))])


def _total(merged: _Merged, values: Sequence[str]) -> str:
    total = values[0]
    for value in values[1:]:
        total = merged.op("Add", [total, value])
    return total


def _on_grid(merged: _Merged, part: _Part, grid: tuple[int, ...]) -> str:
    """A member's feature map `[N, h, w, C]`, enlarged where another has a larger one."""
    value, shape = part.outputs["feature_map"], part.shapes["feature_map"]
    return value if shape[:2] == grid else _stretched(merged, value, shape[:2], grid)


def _evidence(merged: _Merged, part: _Part, grid: tuple[int, ...]) -> str:
    """The weights of a member's map: its share of the vote, spread over as many places as the grid has."""
    height, width, _ = part.shapes["feature_map"]
    factor = part.weight * part.scale * height * width / (grid[0] * grid[1])
    return _weighed(merged, part.outputs["gradcam_weights"], factor)
