"""Refuse ONNX graphs that whatsit does not write, without the `onnx` package.

A graph may come from anybody. Two things make it more than arithmetic: tensors with `data_location` EXTERNAL, which make a
runtime open files, and operators that hold graphs or call functions (`Loop`, `If`, `Scan`, functions of its own), with which it
may never end. So there is a list of the operators that whatsit's own exporters write; everything else is refused.

A protocol-buffer message is a row of (field number, wire type, value); only the fields below matter here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

# What graph/ and models/ write (a test holds that), what older versions wrote, and the arithmetic of other usual backbones.
# None of them repeats anything, and none makes an array whose size is the value of another (as Range and Expand do).
_OPERATORS = """
    Abs Add And AveragePool BatchNormalization Cast Ceil Celu Clip Concat Constant Conv Cos DepthToSpace Div Einsum Elu
    Equal Erf Exp Flatten Floor Gather Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
    GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu
    Less LessOrEqual Log LogSoftmax LpNormalization MatMul Max MaxPool Mean Min Mish Mod Mul Neg Not Or PRelu Pad Pow
    RMSNormalization Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize Round Selu Sigmoid Sign Sin Slice Softmax Softplus Softsign SpaceToDepth Split
    Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where
"""
OPERATORS = frozenset(_OPERATORS.split())
# What a graph made elsewhere may have too, as long as nothing of it depends on a picture: `graph/fold.py` computes it, within
# bounds, and leaves the result.
_FOLDED = "ConstantOfShape DequantizeLinear Dropout Expand EyeLike Range ScatterND Shape Size Tile Trilu"
FOREIGN = OPERATORS | frozenset(_FOLDED.split())

_STANDARD_DOMAINS = frozenset([b"", b"ai.onnx"])
_MAX_DEPTH = 8

# The messages on the way to every tensor: {message: {field: message}}, from onnx.proto3.
_FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 10: "Tensor", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}
_GRAPH, _OUTPUT, _METADATA = 7, 12, 14
_DATA_LOCATION, _EXTERNAL_DATA, _OPERATOR, _NODE_DOMAIN = 14, 13, 4, 7
# Fields that no graph of whatsit's has, by message.
_REFUSED: dict[str, dict[int, str]] = {
    "Model": {20: "it holds instructions for training", 25: "it holds functions of its own"},
    "Attribute": {6: "an operator in it holds a graph of its own", 11: "an operator in it holds graphs of its own"},
}


def check_graph(graph: bytes, operators: Collection[str] = OPERATORS) -> None:
    """Raise `ValueError` for external data, operators not listed, or damaged bytes."""
    _check(memoryview(graph), "Model", 0, frozenset(name.encode() for name in operators))


def output_names(graph: bytes) -> tuple[str, ...]:
    """Return the names of a graph's outputs. Raises `ValueError` for damaged bytes."""
    inner = (body for field, body in _messages(memoryview(graph)) if field == _GRAPH)
    outputs = (value for body in inner for field, value in _messages(body) if field == _OUTPUT)
    return tuple(bytes(text).decode() for value in outputs for key, text in _messages(value) if key == 1)


def metadata_of(graph: bytes) -> dict[str, str]:
    """Return the metadata of a graph. Raises `ValueError` for damaged bytes."""
    entries = (dict(_messages(entry)) for field, entry in _messages(memoryview(graph)) if field == _METADATA)
    return {bytes(entry.get(1, b"")).decode(): bytes(entry.get(2, b"")).decode() for entry in entries}


def _messages(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the fields that hold bytes."""
    for field, value in _fields(message):
        if isinstance(value, memoryview):
            yield field, value


def _check(message: memoryview, kind: str, depth: int, operators: frozenset[bytes]) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("it is nested too deep")
    inner, refused = _FIELDS.get(kind, {}), _REFUSED.get(kind, {})
    named = kind != "Node"
    for field, value in _fields(message):
        if kind == "Tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0)):
            raise ValueError("it wants to read data from other files (external data)")
        if field in refused:
            raise ValueError(refused[field])
        if kind == "Node" and field in (_OPERATOR, _NODE_DOMAIN):
            _check_operator(field, value, operators)
            named = named or field == _OPERATOR
        if field in inner and isinstance(value, memoryview):
            _check(value, inner[field], depth + 1, operators)
    if not named:
        raise ValueError("its bytes are damaged: an operator has no name")


def _check_operator(field: int, value: int | memoryview, operators: frozenset[bytes]) -> None:
    text = bytes(value[:50]) if isinstance(value, memoryview) else b"?"
    shown = text.decode("ascii", errors="replace")
    if field == _NODE_DOMAIN and text not in _STANDARD_DOMAINS:
        raise ValueError(f"it uses an operator of the foreign domain {shown!r}")
    if field == _OPERATOR and text not in operators:
        raise ValueError(f"it uses the operator {shown!r}, which whatsit does not run")


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
