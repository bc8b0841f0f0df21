"""Augmentation of images in memory, a batch at a time.

What moves is interpolated once, then colours change.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Float32, Images
from whatsit.training.recipe import Recipe
from whatsit.training.resolve import working_shift

_OPERATIONS = 9  # of `_rand_augment`


def wants_augmentation(recipe: Recipe) -> bool:
    """Return whether the recipe changes single images at all."""
    return wants_movement(recipe) or bool(recipe.random_erasing)


def wants_movement(recipe: Recipe) -> bool:
    """Return whether the recipe moves images, or changes their colours."""
    return bool(
        recipe.rotation or working_shift(recipe) or recipe.zoom or recipe.shear or recipe.flip or recipe.rand_augment
    )


def augment(pixels: Images, recipe: Recipe, rng: np.random.Generator, mirrored: npt.NDArray[np.bool_]) -> Images:
    """Return a batch with each image moved and recoloured at random, by the recipe.

    `pixels` is uint8 `[N, H, W, 3]`; so is the result. Those that are `mirrored` are mirrored left to right. What comes
    in from outside the picture is its reflection; interpolation is bilinear, and shifts are whole pixels, so that a
    picture that is only shifted and mirrored keeps its exact pixels. `rng` settles everything random.
    """
    count, height, width, _ = pixels.shape
    if wants_movement(recipe):
        draws = rng.uniform(-1.0, 1.0, (6, count))
        move = _placement(
            draws[0] * math.radians(recipe.rotation),
            draws[1] * recipe.shear,
            1.0 + draws[2] * recipe.zoom,
            1.0 + draws[3] * recipe.zoom,
            np.rint(draws[4] * working_shift(recipe) * width),
            np.rint(draws[5] * working_shift(recipe) * height),
        )
        change = None
        if recipe.rand_augment:
            move, change = _rand_augment(move, recipe.rand_augment, rng, count, width, height)
        move[:, 0] *= np.where(mirrored, -1.0, 1.0)[:, None]
        pixels = _apply(pixels, _about_centre(move, width, height), change)
    if recipe.random_erasing:
        pixels = _erase(pixels, recipe.random_erasing, rng)
    return pixels


def _placement(
    angle: npt.NDArray[Any], shear: Any, zoom_x: Any, zoom_y: Any, shift_x: Any, shift_y: Any
) -> npt.NDArray[np.float64]:
    """Return `[N, 2, 3]`: from a position in the result to one in the image.

    Positions are measured from the centre.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    move = np.empty((len(angle), 2, 3))
    move[:, 0] = np.stack([zoom_x * cos, zoom_x * (shear * cos - sin), np.broadcast_to(shift_x, cos.shape)], axis=1)
    move[:, 1] = np.stack([zoom_y * sin, zoom_y * (shear * sin + cos), np.broadcast_to(shift_y, cos.shape)], axis=1)
    return move


def _about_centre(move: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray[np.float32]:
    """Return the eight numbers `[N, 8]` of TensorFlow's projective transformation."""
    x, y = (width - 1) / 2, (height - 1) / 2
    (a, b, c), (d, e, f) = move[:, 0].T, move[:, 1].T
    zero = np.zeros(len(move))
    return np.stack([a, b, c + x - a * x - b * y, d, e, f + y - d * x - e * y, zero, zero], axis=1).astype(np.float32)


def _rand_augment(
    move: npt.NDArray[np.float64], magnitude: float, rng: np.random.Generator, count: int, width: int, height: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Add two random operations to each image (RandAugment, Cubuk et al. 2020).

    Return movement and recolouring at one magnitude.

    Operations: rotate, shear x and y, shift x and y; brightness, contrast, colour; nothing. Recolouring is `[N, 3]`: the
    factors by which brightness, contrast and colour are multiplied.
    """
    strength = magnitude / 30
    factors = np.ones((count, 3), np.float32)
    for _ in range(2):
        kind = rng.integers(_OPERATIONS, size=count)
        signed = strength * rng.choice([-1.0, 1.0], count)
        extra = np.zeros((count, 2, 3))
        extra[:, 0, 0] = extra[:, 1, 1] = 1.0
        angle = np.where(kind == 0, signed * math.radians(30), 0.0)
        extra[:, 0, 0], extra[:, 0, 1] = np.cos(angle), -np.sin(angle)
        extra[:, 1, 0], extra[:, 1, 1] = np.sin(angle), np.cos(angle)
        extra[:, 0, 1] += np.where(kind == 1, 0.3 * signed, 0.0)
        extra[:, 1, 0] += np.where(kind == 2, 0.3 * signed, 0.0)
        extra[:, 0, 2] = np.where(kind == 3, 0.45 * signed * width, 0.0)
        extra[:, 1, 2] = np.where(kind == 4, 0.45 * signed * height, 0.0)
        linear = move[:, :, :2] @ extra
        linear[:, :, 2] += move[:, :, 2]
        move = linear
        for place in range(3):
            factors[:, place] *= np.where(kind == 5 + place, 1.0 + 0.9 * signed, 1.0)
    return move, factors


def _apply(pixels: Images, transforms: npt.NDArray[np.float32], factors: npt.NDArray[np.float32] | None) -> Images:
    moved = _moving()(pixels, transforms) if factors is None else _recolouring()(pixels, transforms, factors)
    result: Images = moved.numpy()
    return result


@functools.cache
def _moving() -> Any:
    import tensorflow as tf

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def move(pixels: Any, transforms: Any) -> Any:
        return tf.cast(tf.round(_transformed(pixels, transforms)), tf.uint8)

    return move


@functools.cache
def _recolouring() -> Any:
    import tensorflow as tf

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def move_and_recolour(pixels: Any, transforms: Any, factors: Any) -> Any:
        x = _transformed(pixels, transforms)
        brightness, contrast, colour = (factors[:, place, None, None, None] for place in range(3))
        x = x * brightness
        grey = tf.reduce_sum(x * [0.299, 0.587, 0.114], axis=3, keepdims=True)
        x = grey + (x - grey) * colour
        mean = tf.reduce_mean(grey, axis=(1, 2), keepdims=True)
        x = mean + (x - mean) * contrast
        return tf.cast(tf.round(tf.clip_by_value(x, 0.0, 255.0)), tf.uint8)

    return move_and_recolour


def _transformed(pixels: Any, transforms: Any) -> Any:
    import tensorflow as tf

    # It assumes float32 images (of integers it would cut off, not round) and, for each, the eight figures by which a place in
    # the result becomes one in the picture, x before y, whole numbers at the middles of pixels: `_about_centre` gives them.
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(pixels, tf.float32),
        transforms=transforms,
        output_shape=tf.shape(pixels)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _erase(pixels: Images, chance: float, rng: np.random.Generator) -> Images:
    """Fill a rectangle of 2 to 33 % of an image with its mean colour, at that chance.

    This is random erasing (Zhong et al. 2020).

    Not with noise or any colour: whitening makes them ten times as loud as pictures, so that the others are not heard.
    """
    count, height, width, _ = pixels.shape
    pixels = pixels.copy()
    for place in np.flatnonzero(rng.random(count) < chance):
        area, ratio = rng.uniform(0.02, 0.33) * height * width, math.exp(rng.uniform(-math.log(3), math.log(3)))
        h, w = min(height, round(math.sqrt(area * ratio)) or 1), min(width, round(math.sqrt(area / ratio)) or 1)
        y, x = rng.integers(height - h + 1), rng.integers(width - w + 1)
        pixels[place, y : y + h, x : x + w] = np.rint(pixels[place].mean(axis=(0, 1)))
    return pixels


def mix(
    pixels: Images, targets: Float32, weights: Float32, recipe: Recipe, rng: np.random.Generator
) -> tuple[Images, Float32, Float32]:
    """Mix each image with another of the batch, at the recipe's `mix_chance`.

    Target and weight are mixed in the same shares.

    MixUp (Zhang et al. 2018) blends the two; CutMix (Yun et al. 2019) takes a rectangle of the other. Where the recipe
    has both, each batch draws one of them. Targets keep their sum of 1.

    Args:
        pixels: uint8 `[B, H, W, 3]`.
        targets: float32 `[B, K]`.
        weights: float32 `[B]`.
        recipe: with `mixup` and `cutmix`, the two alphas.
        rng: settles everything random.
    """
    if rng.random() >= recipe.mix_chance:
        return pixels, targets, weights
    other = rng.permutation(len(pixels))
    if recipe.mixup and (not recipe.cutmix or rng.random() < 0.5):
        share = np.float32(rng.beta(recipe.mixup, recipe.mixup))
        mixed = np.rint(pixels * share + pixels[other] * (np.float32(1) - share)).astype(np.uint8)
    else:
        height, width = pixels.shape[1:3]
        side = math.sqrt(1.0 - rng.beta(recipe.cutmix, recipe.cutmix))
        y, x = rng.integers(height), rng.integers(width)
        top, bottom = (int(np.clip(y + sign * side * height / 2, 0, height)) for sign in (-1, 1))
        left, right = (int(np.clip(x + sign * side * width / 2, 0, width)) for sign in (-1, 1))
        mixed = pixels.copy()
        mixed[:, top:bottom, left:right] = pixels[other, top:bottom, left:right]
        share = np.float32(1 - (bottom - top) * (right - left) / (height * width))
    rest = np.float32(1) - share
    return mixed, targets * share + targets[other] * rest, weights * share + weights[other] * rest
