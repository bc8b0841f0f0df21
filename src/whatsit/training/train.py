"""Training by a recipe, the way that it asks for."""

from __future__ import annotations

from whatsit.models.cnn import SCRATCH_MODELS
from whatsit.training.context import Context
from whatsit.training.finetune import train_finetuned
from whatsit.training.frozen import train_frozen
from whatsit.training.ladder import climb
from whatsit.training.scratch import train_scratch
from whatsit.training.trained import Trained


def train_by_recipe(context: Context) -> Trained:
    """Train by the recipe of a context.

    Raises `TrainingError`; where all images are to be used (`complete`), also if the time is too short for them.
    """
    import keras

    keras.utils.set_random_seed(context.recipe.seed)
    if context.recipe.ladder:
        return climb(context)
    context = context.prepared(context.recipe)
    if context.recipe.model in SCRATCH_MODELS:
        return train_scratch(context)
    if context.recipe.finetune_layers:
        return train_finetuned(context)
    return train_frozen(context).trained
