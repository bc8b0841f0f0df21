"""An ONNX graph under construction, and the outputs of a bundle's graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.arrays import Array
from whatsit.errors import ModelError
from whatsit.graph.check import metadata_of
from whatsit.images.views import ORIGINAL

if TYPE_CHECKING:
    import onnx

PROBABILITIES = "probabilities"
LAYER_OUTPUTS = (PROBABILITIES, "logits", "embedding", "feature_map")
EXPECTED_COSTS = "expected_costs"  # only of a model with costs of mistakes: of each answer
OUTPUTS = (*LAYER_OUTPUTS, "gradcam_weights", "ood_score")

ORIGIN, FOREIGN = "network", "onnx file"  # metadata of a graph whose network was made elsewhere

OPSET = 18
IR_VERSION = 9


@dataclass
class Graph:
    """An ONNX graph under construction.

    Four-dimensional values are held channels first, `[N, C, H, W]`.
    """

    views: tuple[str, ...] = (ORIGINAL,)  # of each image (see `images/views.py`), one behind the other in the batch
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    # For each value: the channels-last shape without the batch dimension.
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    # Values that several layers use, or that go out and are used: they must stay what they are.
    shared: set[str] = field(default_factory=set)
    opset: int = OPSET  # of all operators; what is written here is the same in every later one

    def op(
        self, kind: str, inputs: list[str], shape: tuple[int, ...], name: str | None = None, **attributes: Any
    ) -> str:
        """Append a node and return the name of its only output."""
        from onnx import helper

        output = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        self.shapes[output] = shape
        return output

    def constant(self, name: str, value: Array) -> str:
        """Store an initializer (float arrays as float32) and return its name.

        Raises `ModelError` where another value has that name: one of the two would be lost.
        """
        array = np.array(value, np.float32, order="C") if value.dtype.kind == "f" else value
        if name in self.weights and not np.array_equal(self.weights[name], array):
            raise ModelError(f"two different constants of the exported graph are called '{name}'")
        self.weights[name] = array
        return name

    def channels_last(self, value: str) -> str:
        """Return a value as `[N, H, W, C]`; one without height and width stays as it is."""
        if len(self.shapes[value]) != 3:
            return value
        return self.op("Transpose", [value], self.shapes[value], perm=[0, 2, 3, 1])

    def each_view(self, value: str) -> list[str]:
        """Split a value by the views of the images; return the name of each part."""
        from onnx import helper

        parts = [f"{value}.{view}" for view in self.views]
        self.nodes.append(helper.make_node("Split", [value], parts, axis=0, num_outputs=len(parts)))
        self.shapes |= dict.fromkeys(parts, self.shapes[value])
        return parts

    def to_model(
        self, image: str, outputs: Mapping[str, str], metadata: Mapping[str, str], *, as_they_are: bool = False
    ) -> onnx.ModelProto:
        """Return the model from `image` uint8 `[N, H, W, 3]` to the named values.

        Four-dimensional ones are made channels last, unless `as_they_are`.
        """
        import onnx
        from onnx import helper, numpy_helper

        results = []
        for name, value in outputs.items():
            result = value if as_they_are else self.channels_last(value)
            self.op("Identity", [result], self.shapes[value], name=name)
            results.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *self.shapes[value]]))
        source = helper.make_tensor_value_info(image, onnx.TensorProto.UINT8, ["N", *self.shapes[image]])
        initializers = [numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        graph = helper.make_graph(self.nodes, "whatsit", [source], results, initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="whatsit")
        model.ir_version = IR_VERSION if self.opset == OPSET else helper.find_min_ir_version_for(model.opset_import)
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model


def origin_of(graph: bytes) -> str:
    """Return where the network of a graph came from: `FOREIGN`, or "" for our own."""
    return metadata_of(graph).get(ORIGIN, "")
