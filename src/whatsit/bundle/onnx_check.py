"""Looks through a serialized ONNX graph for what could reach outside it, without the `onnx` package.

A protocol-buffer message is a row of (field number, wire type, value). Only these fields matter here: tensors with
`data_location` EXTERNAL, which make a runtime open files, and operators outside ONNX's own domains.
"""

from __future__ import annotations

from collections.abc import Iterator

_STANDARD_DOMAINS = frozenset([b"", b"ai.onnx"])
_MAX_DEPTH = 16

# The messages on the way to every tensor: {message: {field: message}}, from onnx.proto3.
_FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 8: "Opset", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Function": {7: "Node", 11: "Attribute"},
}
_DATA_LOCATION, _EXTERNAL_DATA, _NODE_DOMAIN = 14, 13, 7


def check_graph(graph: bytes) -> None:
    """Raises `ValueError` for a graph with external data, a foreign operator domain, or damaged bytes."""
    _check(memoryview(graph), "Model", 0)


def _check(message: memoryview, kind: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("it is nested too deep")
    inner = _FIELDS.get(kind, {})
    for field, value in _fields(message):
        if kind == "Tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0)):
            raise ValueError("it wants to read data from other files (external data)")
        if (
            kind == "Node"
            and field == _NODE_DOMAIN
            and isinstance(value, memoryview)
            and bytes(value) not in _STANDARD_DOMAINS
        ):
            raise ValueError(
                f"it uses an operator of the foreign domain '{bytes(value[:50]).decode(errors='replace')}'"
            )
        if field in inner and isinstance(value, memoryview):
            _check(value, inner[field], depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        field, wire = key >> 3, key & 7
        if not 0 < field < 1 << 29:  # a runtime would read another field than we do
            raise ValueError("its bytes are damaged")
        if wire == 0:
            number, position = _varint(message, position)
            yield field, number
            continue
        if wire == 2:
            size, position = _varint(message, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError("its bytes are damaged")
        if position + size > end:
            raise ValueError("its bytes are damaged or cut short")
        yield field, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if position >= len(message) or shift > 63:
            raise ValueError("its bytes are damaged or cut short")
        byte = message[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return number, position
