"""One more output of a bundle's graph: the expected cost of each answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from whatsit.graph.builder import EXPECTED_COSTS, PROBABILITIES

if TYPE_CHECKING:
    import onnx

_MATRIX, _NONE = "costs.matrix", "costs.none"


def with_costs(graph: bytes, matrix: Sequence[Sequence[float]] | None) -> bytes:
    """Return a bundle's graph with expected costs, or without them.

    The output `expected_costs` float32 `[N, K]` is `probabilities @ matrix`, in the last place; the class to answer has the
    least. What was there of other costs is replaced.

    Args:
        graph: ONNX, with the outputs of a bundle.
        matrix: `[truth][answer]`; None: no costs.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(graph)
    had = _take_out(model)
    if matrix is None:
        return bytes(model.SerializeToString()) if had else graph
    prices = np.array(matrix, np.float32)
    named = {_MATRIX: prices, _NONE: np.zeros(len(prices), np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in named.items())
    # As a dense layer, which every format has.
    model.graph.node.append(helper.make_node("Gemm", [PROBABILITIES, _MATRIX, _NONE], [EXPECTED_COSTS]))
    model.graph.output.append(helper.make_tensor_value_info(EXPECTED_COSTS, TensorProto.FLOAT, ["N", len(prices)]))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def costs_of(graph: bytes) -> tuple[tuple[float, ...], ...] | None:
    """Return the matrix `[truth][answer]` in a bundle's graph; None without costs."""
    import onnx
    from onnx import numpy_helper

    part = onnx.load_from_string(graph).graph
    if not any(one.name == EXPECTED_COSTS for one in part.output):
        return None
    [matrix] = [numpy_helper.to_array(tensor) for tensor in part.initializer if tensor.name == _MATRIX]
    return tuple(tuple(float(f"{price:.6g}") for price in row) for row in matrix)


def _take_out(model: onnx.ModelProto) -> bool:
    """Remove the output and what only it needs; return whether it was there."""
    part = model.graph
    outputs = [one for one in part.output if one.name == EXPECTED_COSTS]
    for one in outputs:
        part.output.remove(one)
    for node in [one for one in part.node if EXPECTED_COSTS in one.output]:
        part.node.remove(node)
    for tensor in [one for one in part.initializer if one.name in (_MATRIX, _NONE)]:
        part.initializer.remove(tensor)
    return bool(outputs)
