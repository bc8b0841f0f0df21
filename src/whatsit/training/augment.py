"""Augmentation of pictures in memory, a batch at a time, in one interpolation."""

from __future__ import annotations

import math
from typing import Any

from whatsit.training.recipe import Recipe


def wants_augmentation(recipe: Recipe) -> bool:
    """Whether the recipe moves pictures at all."""
    return bool(recipe.rotation or recipe.shift or recipe.zoom or recipe.shear or recipe.flip)


def augment(pixels: Any, recipe: Recipe, seed: Any) -> Any:
    """Each picture of a batch turned, shifted, zoomed, sheared and mirrored at random, as the recipe allows.

    `pixels` is a TensorFlow tensor, uint8 `[N, H, W, 3]`; so is the result. What comes in from outside the picture
    repeats its nearest edge; interpolation is bilinear. `seed`, an int64 scalar, settles everything random, whichever
    thread the batch is made on.
    """
    import tensorflow as tf

    shape = tf.shape(pixels)
    count = shape[0]
    height, width = tf.cast(shape[1], tf.float32), tf.cast(shape[2], tf.float32)

    draws = tf.random.stateless_uniform([7, count], tf.stack([seed, recipe.seed]), -1.0, 1.0)

    angle = draws[0] * (recipe.rotation * math.pi / 180)
    shear = draws[1] * recipe.shear
    zoom_x, zoom_y = 1.0 + draws[2] * recipe.zoom, 1.0 + draws[3] * recipe.zoom
    shift_x, shift_y = draws[4] * recipe.shift, draws[5] * recipe.shift
    if recipe.flip:
        zoom_x *= tf.where(draws[6] < 0.0, -1.0, 1.0)
    # From a place in the result, measured from its centre, to the place in the picture: rotate, shear, zoom, shift.
    a, b = zoom_x * tf.cos(angle), zoom_x * (shear * tf.cos(angle) - tf.sin(angle))
    d, e = zoom_y * tf.sin(angle), zoom_y * (shear * tf.sin(angle) + tf.cos(angle))
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    c = centre_x + shift_x * width - a * centre_x - b * centre_y
    f = centre_y + shift_y * height - d * centre_x - e * centre_y
    zero = tf.zeros_like(a)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(pixels, tf.float32),  # of integers it would cut off, not round
        transforms=tf.stack([a, b, c, d, e, f, zero, zero], axis=1),
        output_shape=shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.cast(tf.round(moved), tf.uint8)
