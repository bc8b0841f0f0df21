"""Make a network for one picture one for any number of pictures.

A graph for a single picture has the batch of 1 written into it: in the shapes of `Reshape`, in a class token that is put before
the tokens of the picture. What has to grow is found by asking what two pictures would need, and the result is compared with the
original on pictures of noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from whatsit.arrays import Array
from whatsit.engines.base import EngineError
from whatsit.errors import ModelError
from whatsit.graph.fold import Body

if TYPE_CHECKING:
    import onnx

TOLERANCE = 2e-3  # of the largest value
PICTURES = 3
_FIXED = "its batch cannot be made dynamic; export the network again with a dynamic batch"


def lift(body: Body, outputs: Sequence[str]) -> Body:
    """Return what these outputs need, for any number of pictures.

    Raises `ModelError` where a value would have to be split by pictures in another way than along one axis.
    """
    return _Lift(body, outputs).result()


@dataclass
class _Lift:
    old: Body
    outputs: Sequence[str]
    new: Body = field(init=False)
    twice: dict[str, tuple[int, ...]] = field(init=False)  # the shape of every value for two pictures

    def __post_init__(self) -> None:
        old = self.old
        self.new = Body(old.source, old.opset, [], dict(old.constants), dict(old.shapes), dict(old.types))
        self.new.outputs = tuple(self.outputs)
        self.twice = {name: value.shape for name, value in old.constants.items()}
        self.twice[old.source] = (2, *old.shapes[old.source][1:])

    def result(self) -> Body:
        for node in self.old.needed(self.outputs):
            if node.op_type == "Reshape":
                node = self._reshape(node)
            elif node.op_type == "Concat":
                node = self._concatenate(node)
            self._append(node)
        for name in self.outputs:
            if self._axis(name) != 0:
                raise ModelError(f"its output '{name}' {self.old.shapes[name]} has no row for each picture; {_FIXED}")
        return self.new

    def _append(self, node: onnx.NodeProto, once: tuple[int, ...] | None = None) -> None:
        """Append a node; `once` is the shape of a new value for one picture."""
        for name in node.input:  # constants that were added for this node
            if name in self.new.constants:
                self.twice.setdefault(name, self.new.constants[name].shape)
        found = self.new.infer(node, self.twice)
        self.new.nodes.append(node)
        for name, (kind, shape) in found.items():
            self.new.types[name], self.twice[name] = kind, shape
            if once is not None:
                self.new.shapes[name] = once
            if len(shape) != len(self.new.shapes[name]):
                raise ModelError(f"its operator {node.op_type} turns two pictures into {shape}; {_FIXED}")
            self._axis(name)

    def _axis(self, name: str) -> int | None:
        """Return the axis along which a value grows with the pictures; None for none."""
        once, twice = self.new.shapes[name], self.twice[name]
        grown = [axis for axis, (one, two) in enumerate(zip(once, twice, strict=True)) if one != two]
        if len(grown) > 1 or any(twice[axis] != 2 * once[axis] for axis in grown):
            raise ModelError(f"a value {once} of one picture is {twice} of two; {_FIXED}")
        return grown[0] if grown else None

    def _reshape(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Leave the size of the grown axis open."""
        from onnx import helper

        data, output = node.input[0], node.output[0]
        target, axis = list(self.old.shapes[output]), self._axis(data)
        if axis is not None:
            before = math.prod(self.new.shapes[data][:axis])
            places = [place for place in range(len(target)) if math.prod(target[:place]) == before]
            if not places:
                raise ModelError(f"it reshapes {self.new.shapes[data]} to {tuple(target)}; {_FIXED}")
            target[next((place for place in places if target[place] == 1), places[0])] = -1
        shape = self.new.constant(f"{output}.shape", np.array(target, np.int64))
        return helper.make_node("Reshape", [data, shape], [output])

    def _concatenate(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Give each picture its own copy of what is put beside its values."""
        from onnx import helper

        axes = {name: self._axis(name) for name in node.input}
        grown = {axis for axis in axes.values() if axis is not None}
        if len(grown) != 1 or None not in axes.values():
            return node
        [axis] = grown
        along = helper.get_attribute_value(node.attribute[0]) % len(self.new.shapes[node.input[0]])
        if axis == along:
            raise ModelError(f"it joins values along the axis of the pictures; {_FIXED}")
        inputs = [self._for_each(name, axis) if axes[name] is None else name for name in node.input]
        return helper.make_node("Concat", inputs, [node.output[0]], axis=along)

    def _for_each(self, name: str, axis: int) -> str:
        """Return a value with a copy for each picture: the value and a zero of each."""
        from onnx import helper

        rank, kind = len(self.new.shapes[name]), self.new.types[name]
        result, zero = f"{name}.each", f"zero.{rank}.{axis}.{kind}"
        if result in self.twice:
            return result
        if zero not in self.twice:
            self._add_zero(zero, [1] * axis + [-1] + [1] * (rank - axis - 1), kind)
        self._append(helper.make_node("Add", [name, zero], [result]), self.new.shapes[name])
        return result

    def _add_zero(self, zero: str, shape: list[int], kind: int) -> None:
        from onnx import TensorProto, helper

        source = self.new.source
        rest = self.new.constant("zero.axes", np.arange(1, len(self.new.shapes[source]), dtype=np.int64))
        nothing = self.new.constant("zero.nothing", np.zeros((), np.float32))
        target = self.new.constant(f"{zero}.shape", np.array(shape, np.int64))
        of_each, spread = (1,), (1,) * len(shape)
        steps = [
            (helper.make_node("Cast", [source], [f"{zero}.float"], to=TensorProto.FLOAT), self.new.shapes[source]),
            (helper.make_node("ReduceMax", [f"{zero}.float", rest], [f"{zero}.most"], keepdims=0), of_each),
            (helper.make_node("Mul", [f"{zero}.most", nothing], [f"{zero}.nothing"]), of_each),
            (helper.make_node("Reshape", [f"{zero}.nothing", target], [f"{zero}.spread"]), spread),
            (helper.make_node("Cast", [f"{zero}.spread"], [zero], to=kind), spread),
        ]
        for step, once in steps:
            self._append(step, once)


def require_same(model: onnx.ModelProto, body: Body, outputs: Sequence[str]) -> None:
    """Compare a lifted network with the model that it came from.

    On pictures of noise, alone and several at once. Raises `ModelError`.
    """
    from onnx import helper

    from whatsit.engines.onnxruntime import evaluate

    shape = body.shapes[body.source]
    rng = np.random.default_rng(0)
    dtype = helper.tensor_dtype_to_np_dtype(body.types[body.source])
    drawn = (
        rng.normal(0, 1, (PICTURES, *shape[1:])) if dtype.kind == "f" else rng.integers(0, 256, (PICTURES, *shape[1:]))
    )
    pictures = drawn.astype(dtype)
    ours, original = body.to_model(outputs).SerializeToString(), _showing(model, outputs)
    try:
        wanted = evaluate(original, {body.source: pictures[:1]}, outputs)
        alone = evaluate(ours, {body.source: pictures[:1]}, outputs)
        together = evaluate(ours, {body.source: pictures}, outputs)
        last = evaluate(ours, {body.source: pictures[-1:]}, outputs)
    except EngineError as error:
        raise ModelError(str(error)) from None
    for name, theirs, one, many, end in zip(outputs, wanted, alone, together, last, strict=True):
        _compare(name, "one picture", one, theirs)
        _compare(name, "several pictures", many[:1], theirs)
        _compare(name, "several pictures", many[-1:], end)


def _showing(model: onnx.ModelProto, values: Sequence[str]) -> bytes:
    """Return a model that also gives these values."""
    import onnx
    from onnx import helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    shown = {value.name for value in copy.graph.output}
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in values if name not in shown)
    content: bytes = copy.SerializeToString()
    return content


def _compare(name: str, what: str, found: Array, wanted: Array) -> None:
    if found.shape != wanted.shape:
        raise ModelError(f"its output '{name}' of {what} has the shape {found.shape}, not {wanted.shape}; {_FIXED}")
    largest = float(np.abs(wanted).max(initial=0.0))
    apart = float(np.abs(found.astype(np.float64) - wanted).max(initial=0.0))
    if not apart <= TOLERANCE * max(largest, 1e-3):
        raise ModelError(f"its output '{name}' of {what} differs by {apart:.2g} of {largest:.2g}; {_FIXED}")
