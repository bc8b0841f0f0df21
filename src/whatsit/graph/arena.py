"""The working memory that a TFLite file needs on a microcontroller.

TensorFlow Lite Micro puts all that it needs into one array, the arena: at its head the values between the operators, each at a
place that is free as long as the value is needed (its `GreedyMemoryPlanner`), at its tail what operators keep.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Bytes at the tail: measured on a machine of 64 bits, so that one of 32 bits needs less.
_CHANNEL, _OPERATOR, _TENSOR, _ALWAYS = 8, 192, 24, 2048
_ALIGNMENT = 16
SPARE = 1.05  # for what kernels that are made for a processor want beside, and for other versions
_STEP = 1024  # bytes


@dataclass(frozen=True)
class _Value:
    size: int
    first: int  # the number of the operator that makes it, and of the last that needs it
    last: int


def arena_bytes(content: bytes) -> int:
    """Return the bytes that the arena of a TFLite file should have.

    They are a multiple of 1,024.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    operators = [graph.Operators(number) for number in range(graph.OperatorsLength())]
    channels = 0
    first: dict[int, int] = dict.fromkeys(graph.InputsAsNumpy().tolist(), 0)
    last: dict[int, int] = {}
    for number, operator in enumerate(operators):
        sources = [source for source in operator.InputsAsNumpy().tolist() if source >= 0]
        first |= dict.fromkeys(operator.OutputsAsNumpy().tolist(), number)
        last |= dict.fromkeys((source for source in sources if source in first), number)
        channels += max((_scales(graph.Tensors(source)) for source in sources), default=0)
    last |= dict.fromkeys(graph.OutputsAsNumpy().tolist(), len(operators))
    values = [_Value(_bytes(graph.Tensors(place)), made, last.get(place, made)) for place, made in first.items()]
    tail = _CHANNEL * channels + _OPERATOR * len(operators) + _TENSOR * graph.TensorsLength() + _ALWAYS
    return int(math.ceil(SPARE * (_planned(values) + tail) / _STEP) * _STEP)


def _scales(tensor: Any) -> int:
    """Return the number of channels with scales of their own; 0 for one scale."""
    quantization = tensor.Quantization()
    count = 0 if quantization is None else int(quantization.ScaleLength())
    return count if count > 1 else 0


def _bytes(tensor: Any) -> int:
    """Return the size of a value of whole numbers of 8 bits, or of others."""
    from ai_edge_litert import schema_py_generated as schema

    wide = {schema.TensorType.INT8: 1, schema.TensorType.UINT8: 1, schema.TensorType.INT16: 2}.get(tensor.Type(), 4)
    size = int(wide * math.prod(tensor.ShapeAsNumpy().tolist()))
    return math.ceil(size / _ALIGNMENT) * _ALIGNMENT


def _planned(values: Sequence[_Value]) -> int:
    """Return the bytes that values take.

    The largest is placed first, each as low as it fits.
    """
    placed: list[tuple[int, _Value]] = []
    for value in sorted(values, key=lambda value: -value.size):
        beside = [(start, other) for start, other in placed if other.first <= value.last and value.first <= other.last]
        ends = itertools.accumulate((start + other.size for start, other in sorted(beside, key=_start)), max, initial=0)
        starts = [start for start, _ in sorted(beside, key=_start)]
        gaps = (end for end, start in zip(ends, [*starts, math.inf], strict=True) if start - end >= value.size)
        placed.append((next(gaps), value))
    return max(start + value.size for start, value in placed)


def _start(placed: tuple[int, _Value]) -> int:
    return placed[0]
