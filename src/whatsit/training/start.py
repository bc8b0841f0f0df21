"""The way into training for those who have not loaded Keras yet."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from whatsit.events import Reporter
from whatsit.images.scan import Dataset
from whatsit.models.backend import load_keras
from whatsit.training.clock import Clock
from whatsit.training.recipe import Recipe

if TYPE_CHECKING:
    from whatsit.training.trained import Trained


def train_dataset(
    dataset: Dataset,
    recipe: Recipe,
    folder: Path,
    clock: Clock,
    reporter: Reporter,
    *,
    trial: bool = False,
    keep: Callable[[Trained], None] | None = None,
) -> Trained:
    """Load Keras and train by a recipe; see `train_by_recipe`.

    Args:
        dataset: split.
        recipe: complete.
        folder: of the run, where history and checkpoints are written.
        clock: with the time limit, started.
        reporter: gets progress and warnings.
        keep: takes the best classifier so far, where the recipe tries several.
        trial: nothing but the predictions matter, on all images.
    """
    if "tensorflow" in sys.modules:
        gc.collect()  # models of an earlier training and their graphs refer to each other
    load_keras()
    from whatsit.training.context import Context
    from whatsit.training.train import train_by_recipe

    return train_by_recipe(Context(dataset, recipe, folder, clock, reporter, brief=trial, complete=trial, keep=keep))
