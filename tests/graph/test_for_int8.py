from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, load_from_string, numpy_helper

from tests.graph.test_to_keras import graph_of, made_once
from tests.models.test_classifier import PIXELS
from whatsit.engines import open_engine
from whatsit.graph.builder import PROBABILITIES
from whatsit.graph.extract import extract
from whatsit.graph.for_int8 import STEPS, for_int8

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
DEAD = 2  # a feature that is always zero, with a scale as standardization gives it


def headed() -> bytes:
    """A graph of one convolution, means, their standardization and a dense layer."""
    rng = np.random.default_rng(1)
    bias = np.array([0.1, 0.2, -1e4, 0.3])
    scale, offset = np.array([3.0, 2.0, 500.0, 4.0]), np.array([-0.3, 0.1, -7.0, 0.2])
    constants = {
        "unit": np.array(1 / 255), "kernel": rng.normal(size=(4, 3, 1, 1)), "bias": bias, "scale": scale, "offset": offset,
        "weights": rng.normal(size=(4, 3)), "shift": rng.normal(size=3), "sharpness": np.array(0.7),
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["first", "unit"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "kernel", "bias"], ["map"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["map"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"], axis=1),
        helper.make_node("Mul", ["features", "scale"], ["wide"]),
        helper.make_node("Add", ["wide", "offset"], ["standard"]),
        helper.make_node("Gemm", ["standard", "weights", "shift"], ["dense"]),
        helper.make_node("Mul", ["dense", "sharpness"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [PROBABILITIES], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "x",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 8, 8, 3])],
        [helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


def weights_of(model: onnx.ModelProto, kind: str) -> list[np.ndarray]:
    """Kernel and bias of the only node of that kind."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    [node] = [node for node in model.graph.node if node.op_type == kind]
    return [constants[name] for name in node.input[1:]]


def answer(graph: bytes, pixels: np.ndarray) -> np.ndarray:
    return open_engine(graph, [PROBABILITIES], runtime="onnxruntime").run(pixels)[0]


def test_a_feature_that_says_nothing_does_not_spoil_the_others() -> None:
    old = headed()
    new = load_from_string(for_int8(old, IMAGES))
    kernel, _ = weights_of(new, "Gemm")
    live = np.delete(np.abs(kernel), DEAD, axis=0)
    assert np.abs(kernel[DEAD]).max() <= 2 * live.max()
    assert [node.op_type for node in new.graph.node][-3:] == ["Flatten", "Gemm", "Softmax"]
    assert np.abs(answer(new.SerializeToString(), IMAGES) - answer(old, IMAGES)).max() <= 0.02


def test_a_bias_makes_up_for_a_rounded_kernel() -> None:
    old, new = (load_from_string(graph) for graph in (headed(), for_int8(headed(), IMAGES)))
    (kernel, bias), (same, corrected) = weights_of(old, "Conv"), weights_of(new, "Conv")
    assert np.array_equal(kernel, same)
    step = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / STEPS
    rounded = step * np.rint(kernel / step)
    mean = IMAGES.reshape(-1, 3).mean(axis=0) / 255
    lost = (rounded - kernel)[:, :, 0, 0] @ mean
    assert np.abs(lost).max() > 1e-4
    live = np.arange(len(bias)) != DEAD  # whose bias is too large for such small numbers
    assert (corrected - bias)[live] == pytest.approx(-lost[live], abs=1e-6)


@pytest.mark.parametrize("kind", ["modern-cnn", "all"])
def test_probabilities_stay_nearly_the_same(kind: str) -> None:
    graph = graph_of(made_once(kind), ("original", "flip"))
    part = extract(graph, PROBABILITIES).SerializeToString()
    assert np.abs(answer(for_int8(part, PIXELS), PIXELS) - answer(graph, PIXELS)).max() <= 0.03
