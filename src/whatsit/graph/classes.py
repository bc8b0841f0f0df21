"""The same graph with other names of classes, some of which may be one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from whatsit.graph.builder import PROBABILITIES

if TYPE_CHECKING:
    import onnx

_LEAST = 1e-30  # a probability whose logarithm is taken
_BY_CLASS = (PROBABILITIES, "logits", "gradcam_weights")


def with_classes(graph: bytes, classes: Sequence[str], groups: Sequence[Sequence[int]]) -> bytes:
    """Return a bundle's graph for other classes.

    The probability of a class is the sum of those of its group, its logit the logarithm of that sum (up to what is the same
    for all classes), its weights for Grad-CAM the means of the group's, by their probabilities.

    Args:
        graph: ONNX, with the outputs of a bundle.
        classes: the new names.
        groups: for each of them the numbers of the former classes.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(graph)
    former = sum(map(len, groups))
    if len(groups) < former:
        adding = np.zeros((former, len(groups)), np.float32)
        for place, group in enumerate(groups):
            adding[list(group), place] = 1.0
        named = {"classes.adding": adding, "classes.gathering": np.ascontiguousarray(adding.T)}
        named |= {"classes.none": np.zeros(len(groups), np.float32)}
        named |= {"classes.least": np.array(_LEAST, np.float32), "classes.last_axis": np.array([2], np.int64)}
        model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in named.items())
        _keep_former(model)
        there = {output.name for output in model.graph.output}
        model.graph.node.extend(_added(there))
        for output in model.graph.output:
            if output.name in _BY_CLASS:
                output.type.tensor_type.shape.dim[1].dim_value = len(groups)
    props = {prop.key: prop.value for prop in model.metadata_props}
    helper.set_model_props(model, props | {"classes": json.dumps(list(classes), ensure_ascii=False)})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _keep_former(model: onnx.ModelProto) -> None:
    """Rename the outputs that are replaced, where they are made and used."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name in _BY_CLASS:
                    names[place] = _former(name)


def _former(name: str) -> str:
    return f"{name}.former"


def _added(there: set[str]) -> list[onnx.NodeProto]:
    """Return the operators from the former outputs to the new ones."""
    from onnx import helper

    nodes = [helper.make_node("Gemm", [_former(PROBABILITIES), "classes.adding", "classes.none"], [PROBABILITIES])]
    if "logits" in there:
        nodes.append(helper.make_node("Max", [PROBABILITIES, "classes.least"], ["classes.some"]))
        nodes.append(helper.make_node("Log", ["classes.some"], ["logits"]))
    if "gradcam_weights" in there:
        steps = (
            ("Max", [_former(PROBABILITIES), "classes.least"], "classes.shares"),
            ("MatMul", ["classes.shares", "classes.adding"], "classes.sums"),
            ("Unsqueeze", ["classes.shares", "classes.last_axis"], "classes.each"),
            ("Unsqueeze", ["classes.sums", "classes.last_axis"], "classes.all"),
            ("Mul", [_former("gradcam_weights"), "classes.each"], "classes.weighted"),
            ("MatMul", ["classes.gathering", "classes.weighted"], "classes.added"),
            ("Div", ["classes.added", "classes.all"], "gradcam_weights"),
        )
        nodes += [helper.make_node(kind, inputs, [output]) for kind, inputs, output in steps]
    return nodes
