"""Small networks with random weights as ONNX files, as exporters write them, made by `onnx.helper`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CHANNELS, PATCH = 32, 24, 8
TOKENS = (SIDE // PATCH) ** 2 + 1


class Builder:
    """Operators with random weights, of which every new one gets a name."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(seed)

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = attributes.pop("out", f"{kind}_{len(self.nodes)}")
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def whole(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def random(self, *shape: int) -> str:
        return self.constant(self.rng.normal(0, 1 / np.sqrt(max(np.prod(shape[1:]), 1)), shape))

    def dense(self, value: str, have: int, want: int) -> str:
        kernel = self.constant(self.rng.normal(0, 1 / np.sqrt(have), (have, want)))
        return self.op("Add", self.op("MatMul", value, kernel), self.random(want))

    def convolutions(self, value: str) -> str:
        """A map [N, CHANNELS, 4, 4] of pictures [N, 3, 32, 32]."""
        for have, want in ((3, 12), (12, 16), (16, CHANNELS)):
            shape = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
            value = self.op("Relu", self.op("Conv", value, self.random(want, have, 3, 3), self.random(want), **shape))
        return value

    def save(
        self,
        path: Path,
        shape: Sequence[int | str],
        outputs: Sequence[str],
        *,
        opset: int = 18,
        dtype: int = TensorProto.FLOAT,
        known: bool = True,
    ) -> Path:
        source = helper.make_tensor_value_info("pixels", dtype, list(shape))
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "made in a test", [source], ends, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 10
        if known:  # exporters say the shapes of outputs
            model = onnx.shape_inference.infer_shapes(model)
        path.write_bytes(model.SerializeToString())
        return path


def convolutional(path: Path, *, batch: int | str = "N") -> Path:
    """The last map of a convolutional network, channels first."""
    make = Builder()
    make.op("Identity", make.convolutions("pixels"), out="map")
    return make.save(path, (batch, 3, SIDE, SIDE), ["map"])


def channels_last(path: Path) -> Path:
    """A network as TensorFlow's are exported: [N, H, W, 3] in, a pooled map out; it scales raw pixels itself."""
    make = Builder(1)
    scaled = make.op("Mul", "pixels", make.constant(1 / 255))
    found = make.convolutions(make.op("Transpose", scaled, perm=[0, 3, 1, 2]))
    last = make.op("Transpose", found, perm=[0, 2, 3, 1])
    make.op("ReduceMean", last, make.whole(1, 2), keepdims=0, out="pooled")
    return make.save(path, ("N", SIDE, SIDE, 3), ["pooled"])


def projected(path: Path, *, opset: int = 18) -> Path:
    """A pooled output behind a dense layer, which has no class map in closed form."""
    make = Builder(2)
    pooled = make.op("Flatten", make.op("GlobalAveragePool", make.convolutions("pixels")), axis=1)
    make.op("Tanh", make.dense(pooled, CHANNELS, 40), out="embedding")
    return make.save(path, ("N", 3, SIDE, SIDE), ["embedding"], opset=opset)


def transformer(path: Path, *, dynamic: bool = False) -> Path:
    """A vision transformer with a class token and one block: [N, 17, 24].

    As exporters write it: with a batch of 1 in every shape, or one that the graph computes by `Shape` and `Expand`.
    """
    make = Builder(3)
    patches = make.op(
        "Conv", "pixels", make.random(CHANNELS, 3, PATCH, PATCH), kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH]
    )
    size = make.op("Gather", make.op("Shape", patches), make.constant(0, np.int64), axis=0)
    count = make.op("Unsqueeze", size, make.whole(0)) if dynamic else make.whole(1)

    def shape(*rest: int) -> str:
        return make.op("Concat", count, make.whole(*rest), axis=0)

    tokens = make.op("Transpose", make.op("Reshape", patches, shape(CHANNELS, TOKENS - 1)), perm=[0, 2, 1])
    first = make.op("Expand", make.random(1, 1, CHANNELS), shape(1, CHANNELS))
    tokens = make.op("Add", make.op("Concat", first, tokens, axis=1), make.random(1, TOKENS, CHANNELS))
    heads, width = 2, CHANNELS // 2
    three = make.op("Reshape", make.dense(tokens, CHANNELS, 3 * CHANNELS), shape(TOKENS, 3, heads, width))
    three = make.op("Transpose", three, perm=[2, 0, 3, 1, 4])
    query, key, value = (make.op("Gather", three, make.constant(i, np.int64), axis=0) for i in range(3))
    scores = make.op(
        "Mul", make.op("MatMul", query, make.op("Transpose", key, perm=[0, 1, 3, 2])), make.constant(width**-0.5)
    )
    seen = make.op("Transpose", make.op("MatMul", make.op("Softmax", scores, axis=-1), value), perm=[0, 2, 1, 3])
    tokens = make.op("Add", tokens, make.op("Reshape", seen, shape(TOKENS, CHANNELS)))
    ones, zeros = make.constant(np.ones(CHANNELS)), make.constant(np.zeros(CHANNELS))
    make.op("LayerNormalization", tokens, ones, zeros, axis=-1, out="last_hidden_state")
    make.op("Gather", "last_hidden_state", make.constant(0, np.int64), axis=1, out="pooler_output")
    return make.save(path, ("N" if dynamic else 1, 3, SIDE, SIDE), ["pooler_output", "last_hidden_state"])


def classifier(
    path: Path, classes: int = 3, *, softmax: bool = False, batch: int | str = "N", cooled: float = 1.0
) -> Path:
    """A whole classifier: logits or probabilities of a pooled map, divided by a temperature."""
    make = Builder(4)
    pooled = make.op("Flatten", make.op("GlobalAveragePool", make.convolutions("pixels")), axis=1)
    kernel, bias = make.random(classes, CHANNELS), make.random(classes)
    scores = make.op("Gemm", pooled, kernel, bias, transB=1)
    make.op("Div", scores, make.constant(cooled), out="scores")
    if softmax:
        make.op("Softmax", "scores", axis=-1, out="shares")
    return make.save(path, (batch, 3, SIDE, SIDE), ["shares" if softmax else "scores"])


def binary(path: Path) -> Path:
    """A classifier with one output: the probability of the second of two classes, by a sigmoid."""
    make = Builder(5)
    pooled = make.op("Flatten", make.op("GlobalAveragePool", make.convolutions("pixels")), axis=1)
    make.op("Sigmoid", make.dense(pooled, CHANNELS, 1), out="share")
    return make.save(path, ("N", 3, SIDE, SIDE), ["share"])


def opaque(path: Path, classes: int = 3) -> Path:
    """A classifier whose probabilities are made by hand, so that no last layer is recognized."""
    make = Builder(6)
    pooled = make.op("Flatten", make.op("GlobalAveragePool", make.convolutions("pixels")), axis=1)
    raised = make.op("Exp", make.dense(pooled, CHANNELS, classes))
    make.op("Div", raised, make.op("ReduceSum", raised, make.whole(1), keepdims=1), out="shares")
    return make.save(path, ("N", 3, SIDE, SIDE), ["shares"])


def grey(path: Path, classes: int = 3) -> Path:
    """A classifier of grey pictures [N, 32, 32, 1], channels last, as those of handwritten digits are."""
    make = Builder(7)
    colours = make.op("Concat", *(["pixels"] * 3), axis=3)
    found = make.convolutions(make.op("Transpose", colours, perm=[0, 3, 1, 2]))
    make.dense(make.op("Flatten", make.op("GlobalAveragePool", found), axis=1), CHANNELS, classes)
    make.nodes[-1].output[0] = "scores"
    return make.save(path, ("N", SIDE, SIDE, 1), ["scores"])
