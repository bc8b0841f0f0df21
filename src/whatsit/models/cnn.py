"""Networks that are trained from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

SIMPLE_CNN = "simple-cnn"


def simple_cnn(size: int, filters: tuple[int, ...] = (32, 64, 128)) -> keras.Model:
    """The classic baseline's convolutions: 3x3 with ReLU, each followed by 2x2 max-pooling.

    Returns a model from `image` uint8 `[N, size, size, 3]` to its last map (before its pooling), float32
    `[N, h, w, C]`, and the flattened last pooled map, float32 `[N, F]`.
    """
    import keras
    from keras import layers

    image = keras.Input((size, size, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 127.5, -1.0, name="scale")(image)
    feature_map = x
    for number, count in enumerate(filters, 1):
        name = "feature_map" if number == len(filters) else f"conv{number}"
        feature_map = layers.Conv2D(count, 3, padding="same", activation="relu", name=name)(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(feature_map)
    return keras.Model(image, [feature_map, layers.Flatten(name="flatten")(x)], name=SIMPLE_CNN)
