from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import whatsit
from whatsit.engines import open_engine
from whatsit.errors import ModelError
from whatsit.graph.from_keras import trace
from whatsit.models.backend import load_keras

load_keras()
import keras  # noqa: E402
from keras import layers  # noqa: E402

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 13, 16, 3), dtype=np.uint8)


def stir(model: keras.Model) -> keras.Model:
    """Random weights everywhere, variances positive, so that nothing is 0 or 1 by chance."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        layer.set_weights(
            [rng.uniform(0.2, 0.8, weight.shape) - 0.3 * (weight.ndim > 1) for weight in layer.get_weights()]
        )
    return model


def both(body: list[keras.layers.Layer]) -> tuple[np.ndarray, np.ndarray]:
    """What Keras and the exported graph make of the pictures."""
    x = image = keras.Input(PIXELS.shape[1:], dtype="uint8")
    for layer in [layers.Rescaling(1 / 127.5, -1), *body]:
        x = layer(x)
    model = stir(keras.Model(image, x))
    graph, value = trace(model)
    content = graph.to_model("image", {"result": value(model.output)}, {}).SerializeToString()
    return np.asarray(model(PIXELS, training=False)), open_engine(content, ["result"], runtime="onnxruntime").run(
        PIXELS
    )[0]


@pytest.mark.parametrize(
    "body",
    [
        [layers.Conv2D(4, 3, padding="same", activation="relu")],
        [layers.Conv2D(4, 3, strides=2, padding="same")],
        [layers.Conv2D(4, (5, 2), strides=(2, 3), padding="same", use_bias=False), layers.BatchNormalization()],
        [layers.Conv2D(4, 3), layers.BatchNormalization(scale=False), layers.ReLU(6.0)],
        [layers.Conv2D(4, 3), layers.ReLU(), layers.BatchNormalization(center=False)],
        [layers.DepthwiseConv2D(5, strides=2, padding="same"), layers.BatchNormalization(), layers.Activation("relu6")],
        [layers.MaxPooling2D(2), layers.Conv2D(4, 1)],
        [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Activation("silu")],
        [layers.MaxPooling2D(3, strides=2, padding="same")],
        [layers.ZeroPadding2D(((0, 1), (2, 0))), layers.Conv2D(4, 3, strides=2)],
        [layers.UpSampling2D((2, 3), interpolation="bilinear")],
        [layers.GlobalAveragePooling2D(), layers.BatchNormalization(center=False, scale=False), layers.Dense(3)],
        [layers.GlobalMaxPooling2D(), layers.Dropout(0.5), layers.Dense(3, activation="relu"), layers.Softmax()],
        [layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(5, use_bias=False, activation="softmax")],
        [layers.Rescaling([1.0, 2.0, 3.0], [0.5, 0.0, -0.5])],
    ],
    ids=lambda body: "-".join(type(layer).__name__ for layer in body),
)
def test_every_known_layer_is_exact(body: list[keras.layers.Layer]) -> None:
    keras_says, graph_says = both(body)
    assert graph_says.shape == keras_says.shape
    assert np.abs(graph_says - keras_says).max() <= 1e-5 * max(1.0, np.abs(keras_says).max())


def test_branches_join() -> None:
    image = keras.Input(PIXELS.shape[1:], dtype="uint8")
    x = layers.Rescaling(1 / 255)(image)
    a, b = layers.Conv2D(4, 3, padding="same")(x), layers.Conv2D(4, 1)(x)
    model = stir(keras.Model(image, layers.Concatenate()([layers.Add()([a, b]), x])))
    graph, value = trace(model)
    content = graph.to_model("image", {"result": value(model.output)}, {}).SerializeToString()
    result = open_engine(content, ["result"], runtime="onnxruntime").run(PIXELS)[0]
    assert np.abs(result - np.asarray(model(PIXELS, training=False))).max() <= 1e-5


def values_of(model: keras.Model) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each output, what Keras and the exported graph make of the pictures."""
    graph, value = trace(model)
    names = [f"result_{place}" for place in range(len(model.outputs))]
    outputs = {name: value(tensor) for name, tensor in zip(names, model.outputs, strict=True)}
    content = graph.to_model("image", outputs, {}).SerializeToString()
    found = open_engine(content, names, runtime="onnxruntime").run(PIXELS)
    return [(np.asarray(said), mine) for said, mine in zip(model(PIXELS, training=False), found, strict=True)]


def convolved(*then: keras.layers.Layer) -> tuple[object, object, object]:
    """The image, a convolution of it (with more layers behind it), and that followed by a batch norm."""
    image = keras.Input(PIXELS.shape[1:], dtype="uint8")
    x = layers.Conv2D(4, 3, padding="same")(layers.Rescaling(1 / 255)(image))
    for layer in then:
        x = layer(x)
    return image, x, layers.BatchNormalization()(x)


@pytest.mark.parametrize("between", [[], [layers.Dropout(0.5)]], ids=["beside", "behind a layer that does nothing"])
def test_convolution_that_something_else_uses_too_keeps_its_values(between: list[keras.layers.Layer]) -> None:
    image, plain, normed = convolved(*between)
    model = stir(keras.Model(image, [layers.Add()([plain, normed]), normed]))
    for keras_says, graph_says in values_of(model):
        assert np.abs(graph_says - keras_says).max() <= 1e-5


def test_convolution_whose_values_go_out_keeps_them() -> None:
    image, plain, normed = convolved()
    for keras_says, graph_says in values_of(stir(keras.Model(image, [plain, normed]))):
        assert np.abs(graph_says - keras_says).max() <= 1e-5


def test_convolution_of_two_batch_norms_is_folded_into_none() -> None:
    image, plain, normed = convolved()
    for keras_says, graph_says in values_of(stir(keras.Model(image, [normed, layers.BatchNormalization()(plain)]))):
        assert np.abs(graph_says - keras_says).max() <= 1e-5


def test_convolution_that_nobody_else_uses_takes_the_batch_norm_in() -> None:
    image, _, normed = convolved()
    graph, _ = trace(stir(keras.Model(image, layers.ReLU()(normed))))
    assert [node.op_type for node in graph.nodes] == ["Cast", "Transpose", "Mul", "Conv", "Relu"]


def test_value_that_went_into_a_fold_is_not_given_out() -> None:
    image, plain, normed = convolved()
    _, value = trace(stir(keras.Model(image, normed)))
    with pytest.raises(ModelError, match="is not a value of the exported graph"):
        value(plain)


@pytest.mark.parametrize("end", ["consumed", "output"])
def test_layer_used_twice_is_refused_by_name(end: str) -> None:
    image = keras.Input(PIXELS.shape[1:], dtype="uint8")
    x = layers.Rescaling(1 / 255)(image)
    again = layers.Conv2D(3, 3, padding="same", name="again")
    once, twice = again(x), again(again.output)
    model = keras.Model(image, [layers.Add()([once, twice])] if end == "consumed" else [once, twice])
    with pytest.raises(ModelError, match=r"layer 'again' is used 2 times, which cannot be exported exactly"):
        values_of(model)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            layers.Conv2DTranspose(4, 3, name="odd"),
            "layer 'odd' is a Conv2DTranspose, which cannot be exported exactly; known",
        ),
        (layers.Conv2D(4, 3, activation="gelu", name="odd"), "layer 'odd' has the activation 'gelu'"),
        (layers.Conv2D(4, 3, dilation_rate=2, name="odd"), "layer 'odd' uses dilation"),
        (layers.ReLU(negative_slope=0.1, name="odd"), "layer 'odd' is a leaky"),
        (layers.UpSampling2D(2, name="odd"), "layer 'odd' interpolates by 'nearest'"),
    ],
)
def test_what_cannot_be_exported_exactly_is_refused_by_name(layer: keras.layers.Layer, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        both([layer])


def test_bundles_may_hold_every_operator_that_is_written() -> None:
    """By the names in the code that builds graphs: `graph.op("Relu", ...)`, `make_node("Split", ...)`."""
    import ast

    from onnx import defs

    from whatsit.graph.check import OPERATORS

    written = set()
    source = Path(whatsit.__file__).parent
    for path in (path for folder in ("graph", "models") for path in (source / folder).glob("*.py")):
        for call in (
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
        ):
            if getattr(call.func, "attr", getattr(call.func, "id", "")) in ("op", "make_node", "_op", "node"):
                written |= {
                    one.value for one in ast.walk(call) if isinstance(one, ast.Constant) and isinstance(one.value, str)
                }
    written = {name for name in written if defs.has(name)}
    assert len(written) > 20
    assert written <= OPERATORS
