"""What the user asks of `whatsit train`, checked, and held against what an interrupted run was begun with."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from whatsit.errors import RecipeError, UsageError, suggest
from whatsit.images.scan import Dataset
from whatsit.models.backbones import BACKBONES
from whatsit.models.cnn import SCRATCH_MODELS
from whatsit.training import recipe as recipes
from whatsit.training.checked import refuse_without_effect, require_network, with_layers, with_settings
from whatsit.training.clock import duration, parse_duration
from whatsit.training.recipe import Recipe
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


def _limit(seconds: float | None) -> str:
    return "no time limit" if seconds is None else f"a time limit of {duration(seconds)}"


def make_plan(
    recipe: str, backbone: str | None, weights: str | Path | None, seed: int | None, settings: dict[str, Any]
) -> Recipe:
    """The recipe with what the user wants otherwise. Raises `RecipeError` or `UsageError`."""
    plan = recipes.load(recipe)
    settings = recipes.flat(settings, plan, "--set")
    written = recipes.written_in(recipe) if recipe.endswith(".toml") else {}
    # A file with every key is one that whatsit wrote: nobody asked for the keys that have no effect there.
    ours = written.keys() >= {field.name for field in fields(Recipe)}
    said = {*settings, *(_said_in(plan, written) if not ours else ())}
    refuse_without_effect(plan, said - settings.keys(), recipe)
    plan = with_settings(plan, settings, "--set")
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
    require_network(plan)
    plan = with_layers(plan, said)
    plan = _without_mirror(plan, written | settings, own)
    return recipes.change(plan, {} if seed is None else {"seed": seed}, "--seed")


def said_seed(seed: int | None, recipe: str | None, settings: dict[str, Any]) -> int | None:
    """The seed, said by itself, in a recipe file or among the settings; None where in none."""
    if seed is not None:
        return seed
    written = recipes.written_in(recipe) if recipe and recipe.endswith(".toml") else {}
    found = (written | settings).get("seed")
    return found if isinstance(found, int) else None


def _without_mirror(plan: Recipe, wishes: dict[str, Any], own: bool) -> Recipe:
    """Pictures that mean something else in the mirror, such as digits, are mirrored nowhere, unless somewhere on purpose."""
    if wishes.get("flip") is not False:
        return plan
    views = {} if own else {"views": ["original"]}
    return recipes.change(plan, {"test_time_flip": False} | views | wishes, "--set")


def _said_in(recipe: Recipe, written: Collection[str]) -> set[str]:
    """What a file asks for: a default is no wish, unless it would change a candidate."""
    standard = Recipe()
    return {key for key in written if recipe.candidates or getattr(recipe, key) != getattr(standard, key)}


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
        if self.seconds is not None and self.seconds != seconds:
            raise UsageError(f"{where} {_limit(seconds)}, now {_limit(self.seconds)} is asked for; {_SAME}")
        return Order(begun, None, limit, seconds)

    def keep(self, place: Workplace, dataset: Dataset) -> None:
        """Write down what the run is, so that it can be gone on with. Raises `UsageError` where the pictures changed."""
        fingerprint = dataset.fingerprint()
        if place.job and place.job.get("data") != fingerprint:
            raise UsageError(
                f"{dataset.source}: the pictures have changed since the run was begun; train anew without --resume"
            )
        place.describe(
            {
                "source": str(Path(dataset.source).resolve()),
                "data": fingerprint,
                "recipe": vars(self.plan),
                "limit": self.limit,
                "time_limit": self.seconds,
            }
        )
