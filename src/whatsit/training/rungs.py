"""What a rung of the ladder is made of: a frozen backbone, and how it is tuned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from whatsit.images.views import FLIP, ORIGINAL
from whatsit.models.backbones import BACKBONES, STRONGER
from whatsit.training import forecast
from whatsit.training.calibration import clearly_less, log_losses
from whatsit.training.context import Context
from whatsit.training.forecast import Pace
from whatsit.training.frozen import Looked
from whatsit.training.probe import fit_probe
from whatsit.training.recipe import WHOLE_SHIFT, Recipe, load
from whatsit.training.resolve import ALL
from whatsit.training.unknown import MAX_PICTURES

GOOD, GOOD_OF_MANY = 7, 4  # epochs of all layers, rather than a larger size or backbone; of few images, and of many
ENOUGH, ENOUGH_OF_MANY = 3.0, 0.5  # epochs of all layers, below which they are not tuned
MOST_LAYERS = 0.8  # of the layers, tuned where that leaves more epochs, or a larger size
SAVED = 0.6  # of the seconds, where the first layers stay as they are: 0.67 with AVX-512, 0.5 with AMX, 0.57 with AVX2
BOTH = (ORIGINAL, FLIP)  # views
# The least size at which all layers are tuned, and shares of the frozen network's. Flowers of 128 pixels: six epochs at 96 pixels
# come to 84.4 %, four at 160 to 82.1 %.
SMALLEST, SMALLER = 96, (0.86, 0.71, 0.57, 0.43)
# Standard errors of the difference of log losses by which mirror images must be harder to be left out. Over three seeds of the
# split it is 3.3 to 4.3 for traffic signs, 11 to 13 for Thai digits, -0.7 to 0.8 for flowers, cats and dogs, and leaves. Of right
# predictions alone it would be 0.5 to 2.4 for traffic signs.
MIRRORED = 2.0
SHARPNESS = 8.0  # makes a linear probe's scores, which are about 1 for the class and 0 for the others, logits

# What images are not learned by heart with, the more the longer they are trained on: measured on flowers and traffic signs
# (docs/explanation/training-notes.md). Too much of it in few epochs, and they are not learned at all.
_MODERATE = {"rotation": 15.0, "shift": 0.1, "zoom": 0.2, "shear": 0.1, "label_smoothing": 0.1}
_STRONG = _MODERATE | {"rand_augment": 15.0}
_LIGHT = {"rotation": 5.0, "shift": WHOLE_SHIFT, "zoom": 0.1, "label_smoothing": 0.05}
_BY_EPOCHS: tuple[tuple[float, dict[str, float]], ...] = (
    (15, _STRONG | {"finetune_learning_rate": 0.0008}),
    (5, _MODERATE | {"rand_augment": 8.0, "finetune_learning_rate": 0.0006}),
    (0, {"shift": WHOLE_SHIFT}),
)
# From that number of images on, few epochs learn none by heart: on CIFAR-10, eight moderate ones came to 90.5 %, where five with
# shifts and mirror images alone come to 93.1 %. Smoothed labels are worth half a point there.
MANY = 5000  # training images
_BY_EPOCHS_OF_MANY: tuple[tuple[float, dict[str, float]], ...] = (
    (15, _LIGHT | {"finetune_learning_rate": 0.0003}),
    (GOOD_OF_MANY, {"shift": WHOLE_SHIFT, "label_smoothing": 0.1}),
    (0, {"shift": WHOLE_SHIFT}),
)
# Where the frozen network is right for fewer of the validation images, it must change more to know few images: in smaller
# batches, for more epochs rather than with a larger size or backbone, and with strong augmentation sooner. Traffic signs, 774
# images in 12 epochs: batches of 64 come to 70 %, of 32 to 79 %, of 16 with strong augmentation to 83 %, with Lite2 to 91 %.
# Nowhere else: flowers, six epochs of 3,015 images, have 84.4 % in batches of 64, 80.1 % in batches of 16.
HARD = 2 / 3
BATCH_SIZE, SMALLEST_BATCH, STEPS = 64, 16, 48  # steps of an epoch
SEEN, MOST_GOOD = 9000, 15  # images that the good epochs see, at least, as long as they are not more than that
STRONG_FROM = 11  # epochs
# Share of the side by which many small images are moved for two views at test time: a pixel of 32. Worth 0.2 points on CIFAR-10.
SMALL_SHIFT = 1 / 32


@dataclass
class Base:
    """A frozen backbone on which fine-tuning can begin."""

    looked: Looked
    recipe: Recipe
    pace: Pace
    accuracy: float = 1.0  # in validation, of its heads

    @property
    def images(self) -> int:
        """The number of training images."""
        return len(self.looked.seen.labels)

    @property
    def held(self) -> int:
        """The number of validation images."""
        return len(self.looked.seen.held_labels)

    @property
    def good(self) -> int:
        """The epochs beyond which a larger size or backbone is worth more."""
        if self.hard:
            return max(GOOD, min(MOST_GOOD, math.ceil(SEEN / self.images)))
        return GOOD if self.images < MANY else GOOD_OF_MANY

    @property
    def hard(self) -> bool:
        """Whether there are few images, of which the frozen network knows few."""
        return self.images < MANY and self.accuracy < HARD

    @property
    def enough(self) -> float:
        """The epochs below which all layers are not tuned."""
        return ENOUGH if self.images < MANY else ENOUGH_OF_MANY

    def epoch(self, size: int = 0, share: float = 1.0) -> float:
        """Return the forecast seconds of an epoch, of a share of the layers at a size."""
        own = self.looked.context.size
        features = max(self.pace.features, 1e-9) * ((size or own) / own) ** 2
        cost = 1.0 if share == 1.0 else SAVED
        return cost * forecast.epoch_of_all(features, self.images, self.held)

    def around(self, size: int) -> float:
        """Return the forecast seconds before and after the epochs of all layers.

        All images are read, validation images are predicted in two views, and the features of training images are computed.
        """
        pace = replace(self.pace, features=self.pace.features * (size / self.looked.context.size) ** 2)
        known = pace.look(min(self.images, MAX_PICTURES), 1)
        return forecast.BUILD + (self.images + self.held) * pace.reading + pace.look(self.held, 2) + known

    def epochs(self, left: float, size: int, share: float) -> float:
        """Return how many epochs of a share of the layers are forecast to fit."""
        return min((left - self.around(size)) / self.epoch(size, share), 1e6)

    def one_sided(self) -> Base:
        """Return it without mirror images of the training images."""
        looked, recipe = self.looked, one_sided(self.looked.context.recipe)
        seen = replace(looked.seen, train={ORIGINAL: looked.seen.train[ORIGINAL]})
        looked = replace(looked, context=replace(looked.context, recipe=recipe), seen=seen)
        return replace(self, looked=looked, recipe=one_sided(self.recipe))

    def stronger(self) -> float:
        """Return the forecast seconds of the features of a stronger backbone."""
        pace = replace(self.pace, features=forecast.STRONGER_COST * self.pace.features)
        views = len(self.looked.context.recipe.views)
        return forecast.OPEN + pace.look(self.images, views) + pace.look(self.held, 2)

    def sizes(self) -> list[int]:
        """Return the sizes at which it may be tuned, the largest first.

        An image that is enlarged inside the graph stays a whole multiple.
        """
        context = self.looked.context
        if context.upscale > 1:
            side = context.size // context.upscale
            return [side * factor for factor in range(context.upscale, 0, -1) if side * factor >= SMALLEST][:2]
        smaller = [32 * round(share * context.size / 32) for share in SMALLER]
        return sorted({context.size, *(size for size in smaller if SMALLEST <= size < context.size)}, reverse=True)

    def at(self, size: int) -> Context:
        """Return the context at another size."""
        context = self.looked.context
        side = context.size // context.upscale
        return replace(context, size=size, upscale=size // side if context.upscale > 1 else 1)


def frozen_recipe(ladder: Recipe) -> Recipe:
    """Return the recipe of the heads on the default backbone."""
    recipe = replace(load("fast"), name=ladder.name, seed=ladder.seed, split=ladder.split)
    return recipe if ladder.flip else one_sided(recipe)


def stronger(recipe: Recipe) -> Recipe:
    """Return a recipe on the stronger backbone."""
    return replace(recipe, model=STRONGER)


def one_sided(recipe: Recipe) -> Recipe:
    """Return a recipe without mirror images among the training features."""
    return replace(recipe, views=(ORIGINAL,))


def tuning_recipe(base: Base, *, mirrors: bool) -> Recipe:
    """Return the recipe of fine-tuning on a backbone."""
    frozen = base.looked.context.recipe
    recipe = replace(
        load("finetune"), name=frozen.name, seed=frozen.seed, split=frozen.split, model=frozen.model, views=frozen.views,
        finetune_all_from=0,  # the rung says how many layers
    )  # fmt: skip
    return recipe if mirrors else replace(one_sided(recipe), flip=False, test_time_flip=False)


def of_all(plan: Mapping[str, Any], base: Base, epochs: int) -> dict[str, Any]:
    """Return the changes to the recipe for tuning all layers.

    `epochs` are those at most.
    """
    by_epochs = _BY_EPOCHS if base.images < MANY else _BY_EPOCHS_OF_MANY
    augmented = next(changes for least, changes in by_epochs if plan["epochs"] >= least)
    if base.hard and plan["epochs"] >= STRONG_FROM:
        augmented = by_epochs[0][1]
    layers = ALL if plan["share"] == 1.0 else round(plan["share"] * BACKBONES[base.recipe.model].layers)
    views = {"test_time_shift": SMALL_SHIFT} if base.images >= MANY and base.looked.context.upscale > 1 else {}
    batch = batch_size(base.images) if base.hard else BATCH_SIZE
    return {"finetune_layers": layers, "finetune_epochs": epochs, "finetune_batch_size": batch, **augmented, **views}


def batch_size(images: int) -> int:
    """Return the size of the batches of hard images."""
    size: int = 2 ** round(math.log2(images / STEPS))
    return min(BATCH_SIZE, max(SMALLEST_BATCH, size))


def mirrored_is_harder(base: Base) -> bool:
    """Return whether mirror images mean something else, and say so.

    A linear probe of the images says it: letters, digits and traffic signs are clearly harder in the mirror.
    """
    seen, context = base.looked.seen, base.looked.context
    if FLIP not in seen.held:
        return False
    train, held = (seen.train[ORIGINAL], seen.labels), (seen.held[ORIGINAL], seen.held_labels)
    probe = fit_probe(train, held, len(context.dataset.classes), base.recipe.seed)
    scores = [probe.scores(seen.held[view]) for view in (ORIGINAL, FLIP)]
    losses = [log_losses(SHARPNESS * some, seen.held_labels) for some in scores]
    harder = clearly_less(losses[0], losses[1], errors=MIRRORED)
    if harder:
        right = [float((some.argmax(axis=1) == seen.held_labels).mean()) for some in scores]
        context.reporter.say(
            f"Mirror images are not used, as they are clearly harder: of mirrored validation images {right[1]:.1%} are predicted "
            f"right, of the others {right[0]:.1%}"
        )
    return harder
