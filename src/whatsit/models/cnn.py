"""Networks from scratch.

Each builder returns a model from `image` uint8 `[N, size, size, 3]` to its last map (before its pooling), float32
`[N, h, w, C]`, and the flattened last pooled map, float32 `[N, F]`. `for_training` is the same network as it trains fastest here
(see `layer_policy` and `fast_batch_normalization`); what ships is Keras' own layers in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whatsit.errors import ModelError
from whatsit.models.backend import layer_policy
from whatsit.models.fast_layers import fast_batch_normalization

if TYPE_CHECKING:
    import keras

SIMPLE_CNN = "simple-cnn"
MODERN_CNN = "modern-cnn"
SCRATCH_MODELS = (SIMPLE_CNN, MODERN_CNN)
SMALLEST = {SIMPLE_CNN: 8, MODERN_CNN: 16}  # pixels


def build_cnn(
    name: str,
    size: int,
    *,
    filters: tuple[int, ...] = (),
    batch_norm: bool = False,
    for_training: bool = False,
) -> keras.Model:
    """Return a network by its name; empty `filters` are the network's own.

    Raises `ModelError` where each of the filters halves the image and nothing would be left.
    """
    most = int(np.log2(size - 1 if name == MODERN_CNN else size))
    if len(filters) > most:
        raise ModelError(
            f"'filters' has {len(filters)} numbers, each of which halves the picture: {size} pixels allow at most {most}; "
            f"give fewer, or a larger size"
        )
    if name == MODERN_CNN:
        return modern_cnn(size, filters or (64, 128, 256), for_training=for_training)
    return simple_cnn(size, filters or (32, 64, 128), batch_norm=batch_norm, for_training=for_training)


def simple_cnn(
    size: int, filters: tuple[int, ...] = (32, 64, 128), *, batch_norm: bool = False, for_training: bool = False
) -> keras.Model:
    """Return the classic baseline: 3x3 convolution (batch norm) ReLU, 2x2 max-pooling."""
    import keras
    from keras import layers

    dtype, normalization = _kind(for_training)
    image = keras.Input((size, size, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 127.5, -1.0, name="scale")(image)
    feature_map = x
    for number, count in enumerate(filters, 1):
        x = layers.Conv2D(count, 3, padding="same", name=f"conv{number}", dtype=dtype)(x)
        if batch_norm:
            x = normalization(momentum=0.9, name=f"conv{number}_bn", dtype=dtype)(x)
        name = "feature_map" if number == len(filters) else f"conv{number}_relu"
        feature_map = layers.ReLU(name=name, dtype=dtype)(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}", dtype=dtype)(feature_map)
    return keras.Model(image, [feature_map, layers.Flatten(name="flatten")(x)], name=SIMPLE_CNN)


def modern_cnn(size: int, filters: tuple[int, ...] = (64, 128, 256), *, for_training: bool = False) -> keras.Model:
    """Return a small network in the manner of the CIFAR-10 speed records.

    (Page 2019; Jordan 2024, arXiv 2404.00498.) A 2x2 whitening convolution (see `set_whitening`), then for each number of
    channels a 3x3 convolution, 2x2 max-pooling, and a second 3x3 convolution, each with batch norm and SiLU; at the end the
    map is pooled to 1x1. The pooling before the first batch norm of a stage is what makes it fast.
    """
    import keras
    from keras import layers

    dtype, normalization = _kind(for_training)

    def normalize(value: Any, name: str, activation: str) -> Any:
        value = normalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn", dtype=dtype)(value)
        return silu(value, activation)

    def silu(value: Any, name: str) -> Any:
        return layers.Activation("silu", name=name, dtype=dtype)(value)

    def convolve(value: Any, count: int, name: str) -> Any:
        return layers.Conv2D(
            count, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=name, dtype=dtype
        )(value)

    image = keras.Input((size, size, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 127.5, -1.0, name="scale")(image)
    x = layers.Conv2D(24, 2, name="whiten", dtype=dtype)(x)
    x = silu(x, "whiten_silu")
    for number, count in enumerate(filters, 1):
        x = convolve(x, count, f"stage{number}_first")
        x = layers.MaxPooling2D(2, name=f"stage{number}_pool", dtype=dtype)(x)
        x = normalize(x, f"stage{number}_first", f"stage{number}_first_silu")
        x = convolve(x, count, f"stage{number}_second")
        last = number == len(filters)
        x = normalize(x, f"stage{number}_second", "feature_map" if last else f"stage{number}_second_silu")
    feature_map = x
    side = min(3, int(feature_map.shape[1]))
    x = layers.MaxPooling2D(side, name="pool", dtype=dtype)(feature_map)
    return keras.Model(image, [feature_map, layers.Flatten(name="flatten")(x)], name=MODERN_CNN)


def _kind(for_training: bool) -> tuple[str, Callable[..., Any]]:
    """Return the policy of the layers and the class of batch normalization."""
    from keras import layers

    return (layer_policy(), fast_batch_normalization) if for_training else ("float32", layers.BatchNormalization)


def set_whitening(network: keras.Model, pictures: npt.NDArray[np.uint8]) -> None:
    """Fix the first convolution of `modern_cnn` so that it whitens 2x2 patches.

    Its outputs are uncorrelated, of variance one.
    The eigenvectors of the patches' covariance, each divided by its standard deviation, and their negatives (Page 2019).
    `pictures` is uint8 `[N, size, size, 3]`; half a million patches of theirs are enough. The layer is not trained
    afterwards.
    """
    layer = network.get_layer("whiten")
    pixels = pictures.astype(np.float32) / 127.5 - 1.0
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (2, 2), axis=(1, 2))[:, ::2, ::2]  # [N, h, w, 3, 2, 2]
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 12)
    mean, covariance = patches.mean(axis=0, dtype=np.float64), np.cov(patches.T.astype(np.float64))
    values, vectors = np.linalg.eigh(covariance)
    kernel = (vectors / np.sqrt(values + 1e-4)).reshape(2, 2, 3, 12)
    bias = -(mean @ kernel.reshape(12, 12))
    layer.set_weights([np.concatenate([kernel, -kernel], axis=-1), np.concatenate([bias, -bias])])
    layer.trainable = False
