"""Cut a graph down to what some of its outputs need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def extract(graph: bytes, *outputs: str) -> onnx.ModelProto:
    """Return the part of a graph that these outputs need, with its metadata."""
    import onnx
    from onnx.utils import Extractor

    whole = onnx.load_from_string(graph)
    part = Extractor(whole).extract_model([value.name for value in whole.graph.input], list(outputs))
    part.graph.name, part.producer_name = whole.graph.name, whole.producer_name
    part.metadata_props.extend(whole.metadata_props)
    del part.graph.value_info[:]  # the extractor repeats input and output there
    return part
