"""What a cross-validation is asked for, checked before any training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whatsit.arrays import Int64
from whatsit.errors import DataError, UsageError
from whatsit.events import SILENT, Reporter
from whatsit.images.data import open_data
from whatsit.images.folds import deal_folds
from whatsit.images.scan import Dataset
from whatsit.images.split import limit as limit_pictures
from whatsit.run.plan import make_plan
from whatsit.training.recipe import Recipe


@dataclass(frozen=True)
class FoldsAsked:
    """How the models of a cross-validation are trained; see `cross_validate`."""

    recipe: str = "fast"
    backbone: str | None = None
    weights: str | Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None
    seed: int | None = None


def deal(
    folder: str | Path, folds: int, asked: FoldsAsked, reporter: Reporter = SILENT
) -> tuple[Dataset, Recipe, Int64]:
    """Return the images, the recipe and the fold of each image.

    Raises `UsageError`, `DataError`, as `cross_validate`.
    """
    if folds < 2:
        raise UsageError(f"cross-validation takes 2 folds at least, received {folds}")
    plan = make_plan(asked.recipe, asked.backbone, asked.weights, asked.seed, asked.settings)
    if plan.ladder:
        raise UsageError(
            f"the recipe '{plan.name}' fits into a time limit; cross-validate one such as fast or finetune"
        )
    dataset = open_data(folder, SILENT)
    dataset = dataset if asked.limit is None else limit_pictures(dataset, asked.limit, plan.seed)
    if not dataset.pictures.where(None).all():
        raise DataError(
            f"{folder}: these pictures come with splits; cross-validation makes its own; give class folders"
        )
    return dataset, plan, deal_folds(dataset, folds, reporter)
