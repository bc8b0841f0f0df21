"""What the user asks of `whatsit train`, checked, and held against what an interrupted run was begun with."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whatsit.errors import RecipeError, UsageError, suggest
from whatsit.images.scan import Dataset
from whatsit.models.backbones import BACKBONES
from whatsit.models.cnn import SCRATCH_MODELS, SMALLEST
from whatsit.training import recipe as recipes
from whatsit.training.clock import parse_duration
from whatsit.training.recipe import ALL, Recipe
from whatsit.verbs.workplace import Workplace

_SAME = "leave it out to go on as begun, or train anew without --resume"


def allowed_seconds(time_limit: str | float | None) -> float | None:
    """The time limit in seconds. Raises `UsageError`."""
    if time_limit is None:
        return None
    try:
        seconds = parse_duration(time_limit) if isinstance(time_limit, str) else float(time_limit)
        if not 0 < seconds < math.inf:
            raise ValueError
    except ValueError:
        raise UsageError(f"--time-limit takes a time such as 10m, 90s or 1h30m, received '{time_limit}'") from None
    return seconds


def make_plan(
    recipe: str, backbone: str | None, weights: str | Path | None, seed: int | None, settings: dict[str, Any]
) -> Recipe:
    """The recipe with what the user wants otherwise. Raises `RecipeError` or `UsageError`."""
    plan = recipes.change(recipes.load(recipe), settings, "--set")
    _refuse_without_effect(plan, settings)
    own = plan.model in SCRATCH_MODELS or bool(plan.candidates)
    if backbone is not None:
        if own:
            raise UsageError(
                f"the recipe '{plan.name}' trains networks of its own; --backbone goes with a recipe such as 'fast'"
            )
        if backbone not in BACKBONES:
            raise UsageError(f"unknown backbone '{backbone}'{suggest(backbone, BACKBONES)}")
        plan = replace(plan, model=backbone)
    if weights is not None:
        if own:
            raise UsageError(
                f"the recipe '{plan.name}' chooses its own weights; --weights goes with a recipe such as 'fast'"
            )
        plan = replace(plan, weights=str(weights))
    if plan.weights not in ("auto", "none") and not Path(plan.weights).is_file():
        raise UsageError(f"{plan.weights}: there is no such weights file; --weights takes auto, none or a path")
    smallest = SMALLEST[plan.model] if plan.model in SCRATCH_MODELS else BACKBONES[plan.model].min_size
    if 0 < plan.size < smallest:
        raise UsageError(f"'{plan.model}' works at {smallest} pixels and more, received size {plan.size}")
    plan = _with_layers(plan, settings)
    if settings.get("flip") is False:  # pictures that mean something else in the mirror, such as digits: nowhere then
        plan = recipes.change(plan, {"views": ["original"], "test_time_flip": False} | settings, "--set")
    return recipes.change(plan, {} if seed is None else {"seed": seed}, "--seed")


_MOVES = frozenset(("rotation", "shift", "zoom", "shear", "flip", "rand_augment", "random_erasing", "mixup", "cutmix"))
_OF_CNNS = frozenset(("filters", "batch_norm"))
_OF_BACKBONES = frozenset(("weights", "features", "views"))
_OF_PLATEAUS = frozenset(("early_stopping_patience", "reduce_patience", "reduce_factor"))


def _refuse_without_effect(plan: Recipe, settings: dict[str, Any]) -> None:
    """Raises `RecipeError` for a setting that this recipe would pass over in silence."""
    useless: set[str]
    scratch = plan.model in SCRATCH_MODELS
    tuned = {key for key in settings if key.startswith("finetune_")}
    if plan.candidates:
        names = " and ".join(plan.candidates)
        useless, why = set(settings) - {"candidates", "seed"}, f"it tries {names} as they are; set it for one of them"
    elif scratch:
        useless, why = set(settings) & (_OF_BACKBONES | tuned), "it trains a network from scratch"
    else:
        useless, why = set(settings) & _OF_CNNS, "its network is a pretrained one"
        if not (useless or plan.finetune_layers):
            useless, why = set(settings) & _MOVES, "it looks at each picture once; augmentation goes with 'finetune'"
    if not useless and plan.schedule == "one-cycle":
        useless, why = set(settings) & _OF_PLATEAUS, "its schedule is one-cycle; they go with schedule=plateau"
    if useless:
        raise RecipeError(f"--set: '{min(useless)}' has no effect on the recipe '{plan.name}': {why}")


def _with_layers(plan: Recipe, settings: dict[str, Any]) -> Recipe:
    """How many layers are tuned: what the user says, or what the recipe says as far as the backbone has so many."""
    most = BACKBONES[plan.model].layers if plan.model in BACKBONES else 0
    if "finetune_layers" not in settings:
        return (
            plan if plan.finetune_layers == ALL else replace(plan, finetune_layers=min(int(plan.finetune_layers), most))
        )
    if plan.finetune_layers != ALL and int(plan.finetune_layers) > most:
        raise RecipeError(
            f"'finetune_layers' must be from 0 to {most}, the layers that '{plan.model}' has to tune, or \"{ALL}\"; "
            f"received {plan.finetune_layers}"
        )
    return plan if "finetune_all_from" in settings else replace(plan, finetune_all_from=0)


@dataclass(frozen=True)
class Order:
    """What a run is to be: asked for, or agreed on when it was begun."""

    asked: Recipe | None  # None: as it was begun
    seed: int | None
    limit: int | None
    seconds: float | None

    @property
    def plan(self) -> Recipe:
        assert self.asked is not None
        return self.asked

    def agreed(self, place: Workplace) -> Order:
        """With what an interrupted run was begun with. Raises `UsageError` where something else is asked for now."""
        if not place.job:
            return self
        where = f"{place.path}: this run was begun with"
        try:
            begun = recipes.change(Recipe(), {**place.job["recipe"]}, str(place.path))
            limit, seconds = place.job["limit"], place.job["time_limit"]
        except (KeyError, TypeError, AttributeError, RecipeError) as error:
            raise UsageError(
                f"{place.path}: this run cannot be gone on with ({error}); remove it and train anew"
            ) from None
        for key, value in vars(self.asked).items() if self.asked else ():
            if key != "seed" and value != getattr(begun, key):
                raise UsageError(f"{where} {key} = {getattr(begun, key)}, now {value} is asked for; {_SAME}")
        if self.seed is not None and self.seed != begun.seed:
            raise UsageError(f"{where} seed {begun.seed}, now {self.seed} is asked for; {_SAME}")
        if self.limit is not None and self.limit != limit:
            raise UsageError(f"{where} --limit {limit}, now {self.limit} is asked for; {_SAME}")
        return Order(begun, None, limit, self.seconds if self.seconds is not None else seconds)

    def keep(self, place: Workplace, dataset: Dataset) -> None:
        """Write down what the run is, so that it can be gone on with. Raises `UsageError` where the pictures changed."""
        fingerprint = dataset.fingerprint()
        if place.job and place.job.get("data") != fingerprint:
            raise UsageError(
                f"{dataset.source}: the pictures have changed since the run was begun; train anew without --resume"
            )
        place.describe(
            {"data": fingerprint, "recipe": vars(self.plan), "limit": self.limit, "time_limit": self.seconds}
        )
