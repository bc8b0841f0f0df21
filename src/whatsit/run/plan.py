"""The recipe of a run: the named one, with the changes that the user wants."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from whatsit.errors import UsageError, suggest
from whatsit.models.backbones import BACKBONES
from whatsit.models.cnn import SCRATCH_MODELS
from whatsit.models.onnx_about import is_onnx
from whatsit.training import recipe as recipes
from whatsit.training.recipe import Recipe
from whatsit.training.recipe_checks import located, refuse_without_effect, require_network, with_layers, with_settings


def make_plan(
    recipe: str, backbone: str | None, weights: str | Path | None, seed: int | None, settings: dict[str, Any]
) -> Recipe:
    """Return the recipe with the changes that the user wants.

    Raises:
        RecipeError: a key or a value is wrong. UsageError: `backbone` or `weights` is.
    """
    plan = recipes.load(recipe)
    settings = recipes.flat(settings, plan, "--set")
    written = recipes.written_in(recipe) if recipe.endswith(".toml") else {}
    # A file with most keys is one that whatsit wrote, perhaps before the others were there: keys without effect in it were not
    # asked for.
    ours = 2 * len(written) > len(recipes.KEYS)
    said = {*settings, *(_said_in(plan, written) if not ours else ())}
    refuse_without_effect(plan, said - settings.keys(), recipe)
    plan = with_settings(plan, settings, "--set")
    own = plan.model in SCRATCH_MODELS or plan.ladder
    if backbone is not None:
        if own:
            raise UsageError(
                f"the recipe '{plan.name}' trains networks of its own; --backbone goes with a recipe such as 'fast'"
            )
        if backbone not in BACKBONES and not is_onnx(backbone):
            raise UsageError(f"unknown backbone '{backbone}'{suggest(backbone, BACKBONES)}, or an .onnx file")
        plan = replace(plan, model=backbone)
    if weights is not None:
        if own:
            raise UsageError(
                f"the recipe '{plan.name}' chooses its own weights; --weights goes with a recipe such as 'fast'"
            )
        plan = replace(plan, weights=str(weights))
    plan = located(with_layers(plan, said))
    require_network(plan)
    plan = _without_mirror(plan, written | settings, own)
    return recipes.change(plan, {} if seed is None else {"seed": seed}, "--seed")


def said_seed(seed: int | None, recipe: str | None, settings: dict[str, Any]) -> int | None:
    """Return the seed that the user gives: as such, in a recipe file or in settings."""
    if seed is not None:
        return seed
    written = recipes.written_in(recipe) if recipe and recipe.endswith(".toml") else {}
    found = (written | settings).get("seed")
    return found if isinstance(found, int) else None


def _without_mirror(plan: Recipe, wishes: dict[str, Any], own: bool) -> Recipe:
    """Return the recipe without mirror images anywhere, where `flip` is set to false.

    Some images mean something else in the mirror, such as digits.
    """
    if wishes.get("flip") is not False:
        return plan
    views = {} if own else {"views": ["original"]}
    return recipes.change(plan, {"test_time_flip": False} | views | wishes, "--set")


def _said_in(recipe: Recipe, written: Collection[str]) -> set[str]:
    """Return the keys that a file changes; of a ladder, also those at their default."""
    standard = Recipe()
    return {key for key in written if recipe.ladder or getattr(recipe, key) != getattr(standard, key)}
