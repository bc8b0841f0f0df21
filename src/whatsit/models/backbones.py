"""Pretrained networks without their last layer.

Each takes raw pixels: its scaling is part of its graph.
A backbone's features are the pooled maps of several depths, its `taps`: for images unlike ImageNet's, the middle layers
of a frozen network are better features than its last one (docs/decisions/0004).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whatsit.errors import ModelError
from whatsit.models.weights import Weights, published_file, read_state_dict

if TYPE_CHECKING:
    import keras

DEFAULT = "efficientnet-lite0"
STRONGER = "efficientnet-lite2"  # that takes 1.4 times as long
TINY = "efficientnet-lite0-tiny"  # the first seven blocks of the default one, for microcontrollers
CAFFE_MEANS_BGR = (103.939, 116.779, 123.68)  # the ImageNet means that VGG and ResNet were trained with


@dataclass(frozen=True)
class Backbone:
    """The facts about a network that are needed before it is built."""

    name: str
    taps: tuple[str, ...]  # the layers whose maps are pooled into features, the last one the network's own
    scaling: str  # "tf": [-1, 1]; "lite": (x - 127) / 128; "caffe": BGR less the ImageNet means
    layers: int  # with weights, once batch norms are folded into them
    application: str = ""  # its name in keras.applications; empty for the one built here
    min_size: int = 32
    # Where Keras keeps its ImageNet weights once downloaded, below ~/.keras/models; empty where there is one for each size.
    file: str = ""
    repeats: tuple[int, ...] = ()  # of the blocks of each stage of an EfficientNet-Lite
    widths: tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)  # channels of each stage of an EfficientNet-Lite


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone("efficientnet-lite0", ("block5_expand_relu", "block8_expand_relu", "block11_expand_relu",
                                        "block14_expand_relu", "head_relu"), "lite", 49, repeats=(1, 2, 2, 3, 3, 4, 1)),
        Backbone("efficientnet-lite2", ("block7_expand_relu", "block11_expand_relu", "block15_expand_relu",
                                        "block19_expand_relu", "head_relu"), "lite", 64, repeats=(1, 3, 3, 4, 4, 5, 1),
                 widths=(16, 24, 48, 88, 120, 208, 352)),
        Backbone(TINY, ("block6_depthwise_relu",), "lite", 20, repeats=(1, 2, 2, 2), widths=(16, 24, 40, 80)),
        Backbone("mobilenetv2", ("block_6_expand_relu", "block_10_expand_relu", "block_13_expand_relu",
                                 "block_16_expand_relu", "out_relu"), "tf", 52, "MobileNetV2"),
        Backbone("vgg16", ("block3_pool", "block4_pool", "block5_conv3"), "caffe", 13, "VGG16",
                 file="vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        Backbone("resnet50", ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out"), "caffe", 53, "ResNet50",
                 file="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    )
}  # fmt: skip


def backbones_at_hand() -> list[str]:
    """Return the backbones whose weights are at hand: packaged, or once downloaded.

    The one for microcontrollers is not among them: it is not for comparing with others.
    """
    kept = Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras")) / "models"  # noqa: PTH111 - never raises
    return [
        name
        for name, backbone in BACKBONES.items()
        if name != TINY and (backbone.repeats or (kept / (backbone.file or "-")).is_file())
    ]


def build(name: str, size: int, *, upscale: int = 1, weights: str | Path = "auto") -> keras.Model:
    """Return a backbone as a functional Keras model.

    Args:
        name: one of `BACKBONES`.
        size: the side in pixels at which the network itself works.
        upscale: the input is smaller by this factor and enlarged (bilinearly) inside the graph.
        weights: `auto` (ImageNet), `none` (random), or the path of a weights file.

    Returns:
        a model from `image` uint8 `[N, size / upscale, size / upscale, 3]` to the maps of the backbone's taps,
        float32 `[N, h, w, C]` each, the last one the network's last map.

    Raises:
        ModelError: the weights are missing, cannot be downloaded, or do not fit.
    """
    import keras

    backbone = BACKBONES[name]
    image = keras.Input((size // upscale, size // upscale, 3), dtype="uint8", name="image")
    x = _scale(image, backbone.scaling, upscale)
    if backbone.application:
        return _application(backbone, image, x, size, weights)
    whole = keras.Model(image, _efficientnet_lite(x, backbone))
    if weights != "none":
        path = published_file(name) if weights == "auto" else Path(weights)
        _load_efficientnet_lite(whole, read_state_dict(path), path, name)
    return keras.Model(image, [whole.get_layer(tap).output for tap in backbone.taps], name=name)


def _scale(image: Any, scaling: str, upscale: int) -> Any:
    import numpy as np
    from keras import layers

    scale, offset = {"tf": (1 / 127.5, -1.0), "lite": (1 / 128, -127 / 128), "caffe": (1.0, 0.0)}[scaling]
    x = layers.Rescaling(scale, offset, name="scale")(image)
    if upscale > 1:
        x = layers.UpSampling2D(upscale, interpolation="bilinear", name="enlarge")(x)
    if scaling == "caffe":
        # As a 1x1 convolution, which every export format has.
        swap = layers.Conv2D(3, 1, name="rgb_to_bgr", trainable=False)
        x = swap(x)
        swap.set_weights(
            [np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3), -np.array(CAFFE_MEANS_BGR, np.float32)]
        )
    return x


def _application(backbone: Backbone, image: Any, x: Any, size: int, weights: str | Path) -> keras.Model:
    import keras

    make: Callable[..., Any] = getattr(keras.applications, backbone.application)
    network = make(include_top=False, weights=None, input_tensor=x)
    if weights != "none":
        # Published files number the network's own layers, so they are loaded into it alone and copied by name.
        stock = _stock(backbone, make, size, weights)
        for layer in stock.layers:
            if layer.weights:
                network.get_layer(layer.name).set_weights(layer.get_weights())
    return keras.Model(image, [network.get_layer(tap).output for tap in backbone.taps], name=backbone.name)


def _stock(backbone: Backbone, make: Callable[..., Any], size: int, weights: str | Path) -> Any:
    if weights == "auto":
        try:
            with contextlib.redirect_stdout(sys.stderr):  # Keras shows its download on stdout
                return make(include_top=False, weights="imagenet", input_shape=(size, size, 3))
        except Exception as error:  # Keras raises a bare Exception
            address = next((word for word in str(error).split() if word.startswith("http")), "").rstrip(":.,")
            file = address.rsplit("/", 1)[-1] or f"{backbone.name} weights"
            raise ModelError(
                f"the weights of '{backbone.name}' could not be downloaded; fetch {address or file} by other means and put it "
                f"at ~/.keras/models/{file} or pass --weights PATH; the backbone '{DEFAULT}' needs no download"
            ) from None
    path = Path(weights)
    stock = make(include_top=False, weights=None, input_shape=(size, size, 3))
    if not path.is_file():
        raise ModelError(f"{path}: there is no such weights file")
    try:
        stock.load_weights(path)
    except Exception as error:  # h5py and Keras raise what they like for a file that does not fit
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: these are not weights of '{backbone.name}' without its top: {reason}") from None
    return stock


# Kernel, stride and expansion of each stage (Tan and Le 2019, EfficientNet-B0, with the changes of EfficientNet-Lite: no
# squeeze-and-excitation, ReLU6, stem and head not scaled).
_STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))


def _efficientnet_lite(x: Any, backbone: Backbone) -> Any:
    from keras import layers

    def normalize(value: Any, name: str, *, relu: bool = True) -> Any:
        value = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{name}_bn")(value)
        return layers.ReLU(6.0, name=f"{name}_relu")(value) if relu else value

    x = layers.Conv2D(32, 3, 2, "same", use_bias=False, name="stem_conv")(x)
    x = normalize(x, "stem")
    block = 0
    stages = zip(backbone.repeats, backbone.widths, _STAGES, strict=False)
    for repeats, channels, (kernel, first_stride, expansion) in stages:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            name, shortcut = f"block{block}", x
            if expansion != 1:
                x = layers.Conv2D(x.shape[-1] * expansion, 1, use_bias=False, name=f"{name}_expand_conv")(x)
                x = normalize(x, f"{name}_expand")
            x = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_depthwise_conv")(x)
            x = normalize(x, f"{name}_depthwise")
            x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project_conv")(x)
            x = normalize(x, f"{name}_project", relu=False)
            if stride == 1 and shortcut.shape[-1] == channels:
                x = layers.Add(name=f"{name}_add")([shortcut, x])
            block += 1
    if len(backbone.repeats) < len(_STAGES):
        return x
    x = layers.Conv2D(1280, 1, use_bias=False, name="head_conv")(x)
    return normalize(x, "head")


_PUBLISHED_NORMALIZATION = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}


def _published_name(layer: str) -> str:
    """Return a layer's name in the published weights.

    `block3_depthwise_bn` is `_blocks.3._bn1` there.
    """
    place, *part, kind = layer.split("_")
    if place in ("stem", "head"):
        return f"_conv_{place}" if kind == "conv" else {"stem": "_bn0", "head": "_bn1"}[place]
    inner = f"_{part[0]}_conv" if kind == "conv" else _PUBLISHED_NORMALIZATION[part[0]]
    return f"_blocks.{place.removeprefix('block')}.{inner}"


def _load_efficientnet_lite(model: keras.Model, weights: Weights, path: Path, name: str) -> None:
    try:
        for layer in model.layers:
            if not layer.weights:
                continue
            there = _published_name(layer.name)
            if layer.name.endswith("_bn"):
                parts = ("weight", "bias", "running_mean", "running_var")
                layer.set_weights([weights[f"{there}.{part}"] for part in parts])
            else:  # [out, in, h, w] there, [h, w, in, out] here; depthwise [channels, 1, h, w] and [h, w, channels, 1]
                depthwise = layer.name.endswith("depthwise_conv")
                layer.set_weights([weights[f"{there}.weight"].transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))])
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path}: these are not weights of '{name}': {error}") from None
