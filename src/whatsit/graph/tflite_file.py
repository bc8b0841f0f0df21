"""Rewrite a `.tflite` file: add metadata, or leave out what is not needed.

The metadata (TensorFlow Lite Metadata, schema 1.5, as MediaPipe has it) are a small FlatBuffer of their own among the file's
buffers; the labels are a zip behind the file, which readers of the model do not see.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from whatsit.graph.builder import EXPECTED_COSTS, PROBABILITIES

MODEL = b"TFL3"  # file identifiers
METADATA = b"M001"
LABELS = "labels.txt"  # in the zip
_NAME = b"TFLITE_METADATA"
_ALIGNMENT = 16  # bytes, that the schema asks for the data of buffers
# Numbers of the schema.
_IMAGE, _FEATURE = 2, 1  # of the union ContentProperties
_NORMALIZATION = 1  # of the union ProcessUnitOptions
_RGB, _AXIS_LABELS = 1, 2
_SLOTS = 10  # at least as many as any table has
_EARLY = (1980, 1, 1, 0, 0, 0)  # the time of the zip's member, so that the same model gives the same file


@dataclass(frozen=True)
class Description:
    """What a file says about its model."""

    text: str
    labels: Sequence[str]  # in the order of the probabilities
    size: tuple[int, int]  # (width, height) of the pictures
    author: str = ""
    license: str = ""
    costs: Sequence[Sequence[float]] | None = None  # of mistakes, [truth][answer]


def with_metadata(content: bytes, about: Description) -> bytes:
    """Return a classifier's file with metadata, and with its labels.

    The labels are in a zip behind it. The file takes pixels of 0 to 255; its first output are the probabilities, its second,
    where there is one, the expected costs.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = _read(content)
    [graph], has_costs = model.subgraphs, len(model.subgraphs[0].outputs) > 1
    if has_costs:  # the converter sorts them by name
        places = {one.name.decode(): int(one.tensorIndex) for one in model.signatureDefs[0].outputs}
        graph.outputs = [places[PROBABILITIES], places[EXPECTED_COSTS]]
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(_metadata(about, has_costs=has_costs), np.uint8)
    model.buffers.append(buffer)
    entry.name, entry.buffer = _NAME, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    file = io.BytesIO(_packed(model))
    with zipfile.ZipFile(file, "a") as archive:  # not compressed, as readers map it
        archive.writestr(zipfile.ZipInfo(LABELS, _EARLY), "\n".join(about.labels))
    return file.getvalue()


def slimmed(content: bytes) -> bytes:
    """Return an int8 file without what TensorFlow Lite Micro does not read.

    These are names of tensors, signatures, notes of the converter, and the scales of biases, which are those of the input times
    those of the kernel.
    """
    model = _read(content)
    model.metadata = model.metadataBuffer = model.signatureDefs = None
    model.description = ""
    for graph in model.subgraphs:
        graph.name = ""
        used = {*graph.inputs, *graph.outputs}
        biases = {operator.inputs[2] for operator in graph.operators if len(operator.inputs) == 3}
        for number, tensor in enumerate(graph.tensors):
            tensor.name = ""
            if number in biases - used and tensor.type == _int32():
                tensor.quantization = None
    places: dict[int, int] = {0: 0}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if model.buffers[tensor.buffer].data is None:
                tensor.buffer = 0
            else:
                tensor.buffer = places.setdefault(tensor.buffer, len(places))
    model.buffers = [model.buffers[place] for place in places]
    return _packed(model)


def _int32() -> int:
    from ai_edge_litert import schema_py_generated as schema

    number: int = schema.TensorType.INT32
    return number


def _read(content: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def _packed(model: Any) -> bytes:
    builder = _aligned()(1024)
    builder.Finish(model.Pack(builder), file_identifier=MODEL)
    return bytes(builder.Output())


@cache
def _aligned() -> Any:
    """Return a builder that puts the data of buffers where their schema wants them.

    The classes that are made of the schema do not.
    """
    import flatbuffers

    class Builder(flatbuffers.Builder):  # type: ignore[misc]
        def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802 - FlatBuffers' name
            if x.dtype == np.uint8:
                self.Prep(_ALIGNMENT, x.nbytes)
            return super().CreateNumpyVector(x)

    return Builder


def _metadata(about: Description, *, has_costs: bool) -> bytes:
    """Return the table ModelMetadata."""
    import flatbuffers

    writer = _Writer(flatbuffers.Builder(1024))
    width, height = about.size
    size = writer.table({}, {0: width, 1: height})
    properties = writer.table({1: size}, small={0: _RGB})
    zero, one, most = (writer.floats([value]) for value in (0.0, 1.0, 255.0))
    unit = writer.table({1: writer.table({0: zero, 1: one})}, union={0: _NORMALIZATION})
    image = writer.table({
        0: writer.text("image"),
        1: writer.text(f"A picture of {width} x {height} pixels, RGB, each value from 0 to 255."),
        3: writer.table({1: properties}, union={0: _IMAGE}),
        4: writer.tables([unit]),
        5: writer.table({0: most, 1: zero}),
    })  # fmt: skip
    names = writer.text("The classes, in the order of the probabilities.")
    labels = writer.table({0: writer.text(LABELS), 1: names}, small={2: _AXIS_LABELS})
    probabilities = writer.table({
        0: writer.text("probabilities"),
        1: writer.text("The calibrated probability of each class, 0 to 1; their sum is 1."),
        3: writer.table({1: writer.table({})}, union={0: _FEATURE}),
        5: writer.table({0: one, 1: zero}),
        6: writer.tables([labels]),
    })  # fmt: skip
    outputs = [probabilities]
    if has_costs:
        outputs.append(writer.table({
            0: writer.text(EXPECTED_COSTS),
            1: writer.text("What answering each class costs on average; the class to answer has the least."),
            3: writer.table({1: writer.table({})}, union={0: _FEATURE}),
            6: writer.tables([labels]),
        }))  # fmt: skip
    graph = writer.table({2: writer.tables([image]), 3: writer.tables(outputs)})
    texts = {0: "Image classifier", 1: about.text, 4: about.author, 5: about.license, 7: "1.0.0"}
    root = {slot: writer.text(text) for slot, text in texts.items() if text}
    return writer.finish(writer.table(root | {3: writer.tables([graph])}))


class _Writer:
    """A writer of FlatBuffers by the numbers of their schema.

    What is inside a table is written before it.
    """

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def text(self, text: str) -> int:
        """Write a text; return where."""
        return int(self._builder.CreateString(text))

    def floats(self, values: Sequence[float]) -> int:
        """Write a vector of floats; return where."""
        return int(self._builder.CreateNumpyVector(np.array(values, np.float32)))

    def tables(self, places: Sequence[int]) -> int:
        """Write a vector of tables; return where."""
        self._builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            self._builder.PrependUOffsetTRelative(place)
        return int(self._builder.EndVector())

    def table(
        self,
        parts: Mapping[int, int],
        numbers: Mapping[int, int] | None = None,
        *,
        small: Mapping[int, int] | None = None,
        union: Mapping[int, int] | None = None,
    ) -> int:
        """Write a table; return where.

        By slot: what was written before, numbers of 32 bits, `small` ones of 8 bits, and which member of a `union` follows.
        """
        builder = self._builder
        builder.StartObject(_SLOTS)
        for slot, place in parts.items():
            builder.PrependUOffsetTRelativeSlot(slot, place, 0)
        for slot, number in (numbers or {}).items():
            builder.PrependUint32Slot(slot, number, 0)
        for slot, number in (small or {}).items():
            builder.PrependInt8Slot(slot, number, 0)
        for slot, number in (union or {}).items():
            builder.PrependUint8Slot(slot, number, 0)
        return int(builder.EndObject())

    def finish(self, root: int) -> bytes:
        """Return the whole."""
        self._builder.Finish(root, file_identifier=METADATA)
        return bytes(self._builder.Output())
