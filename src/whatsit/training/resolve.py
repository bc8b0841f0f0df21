"""What a recipe leaves open, chosen from the images."""

from __future__ import annotations

import math
from dataclasses import replace

from whatsit.models.cnn import SCRATCH_MODELS, SIMPLE_CNN
from whatsit.training.knobs import ALL, AUTO
from whatsit.training.recipe import SOME_EPOCHS, WHOLE_EPOCHS, WHOLE_SHIFT, Recipe

FEWEST_EPOCHS = 3  # of fine-tuning whose images are limited


def tuned_layers(recipe: Recipe, images: int) -> int | str:
    """Return the number of layers tuned with this many training images, or "all"."""
    return ALL if recipe.finetune_all_from and images >= recipe.finetune_all_from else recipe.finetune_layers


def tuned_epochs(recipe: Recipe, *, whole: bool, images: int = 0) -> int:
    """Return the epochs of fine-tuning, of the whole network or of some layers.

    `images` is the number of training images; 0: not known, and few.
    """
    epochs = recipe.finetune_epochs or (WHOLE_EPOCHS if whole else SOME_EPOCHS)
    if not recipe.finetune_images or not images:
        return epochs
    return min(epochs, max(FEWEST_EPOCHS, recipe.finetune_images // images))


def fine_tuning(recipe: Recipe, *, whole: bool, images: int = 0) -> Recipe:
    """Return the recipe of the second stage of fine-tuning.

    `whole` is for the whole network, else for some layers; `images` is as `tuned_epochs` has it.
    """
    return replace(
        recipe,
        epochs=tuned_epochs(recipe, whole=whole, images=images),
        shift=working_shift(recipe, whole=whole),
        batch_size=recipe.finetune_batch_size,
        learning_rate=recipe.finetune_learning_rate,
        schedule="one-cycle",
    )


def working_shift(recipe: Recipe, *, whole: bool = False) -> float:
    """Return the share by which images are shifted.

    `whole` is where all layers of a pretrained network are tuned.
    """
    return (WHOLE_SHIFT if whole else 0.0) if recipe.shift == AUTO else float(recipe.shift)


def working_size(recipe: Recipe, side: int) -> tuple[int, int]:
    """Return the side at which the network works, and how much it enlarges its input.

    `side` is the longer side of a typical image. Small images stay small up to the network: an image of 32 pixels is not
    enlarged before it is cached, sent or served.
    """
    if recipe.model in SCRATCH_MODELS:
        return recipe.size or (32 if side <= 48 else 64 if side <= 80 or recipe.model == SIMPLE_CNN else 96), 1
    # On photos a larger size helps, where the features are not cached for every layer.
    size = recipe.size or (128 if side <= 48 else 192 if side <= 96 else 288 if recipe.finetune_layers else 224)
    factors = [factor for factor in range(7, 1, -1) if size % factor == 0 and size // factor >= 0.9 * side]
    return size, (factors or [1])[0]


def working_batch_size(recipe: Recipe, samples: int, side: int = 32) -> int:
    """Return the batch size: the recipe's, or one that makes about 16 steps an epoch.

    It is from 32 to 512 (to 128 of `simple-cnn`). Of images with more than 32 pixels a side a batch has fewer than 512, so that
    it takes little more memory.
    """
    largest = 128 if recipe.model == SIMPLE_CNN else 512
    most = 512 * 32**2 // max(side, 32) ** 2
    wanted = min(samples / 16, most)
    return recipe.batch_size or min(largest, max(32, 2 ** round(math.log2(max(wanted, 1)))))


__all__ = [
    "ALL",
    "fine_tuning",
    "tuned_epochs",
    "tuned_layers",
    "working_batch_size",
    "working_shift",
    "working_size",
]
