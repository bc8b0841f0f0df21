"""The recipe of a run: the named one, with the changes that the user wants."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Set
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from whatsit.errors import RecipeError, UsageError, suggest
from whatsit.models.backbones import BACKBONES
from whatsit.models.cnn import MODERN_CNN, SCRATCH_MODELS, SMALLEST
from whatsit.training import recipe as recipes
from whatsit.training.recipe import ALL, TWINS, Recipe


def make_plan(
    recipe: str, backbone: str | None, weights: str | Path | None, seed: int | None, settings: dict[str, Any]
) -> Recipe:
    """Return the recipe with the changes that the user wants.

    Raises:
        RecipeError: a key or a value is wrong. UsageError: `backbone` or `weights` is.
    """
    plan = recipes.load(recipe)
    written = recipes.written_in(recipe) if recipe.endswith(".toml") else {}
    # A file with every key is one that whatsit wrote: keys without effect in it were not asked for.
    ours = written.keys() >= {field.name for field in fields(Recipe)}
    said = {*settings, *(_said_in(plan, written) if not ours else ())}
    _refuse_without_effect(plan, said - settings.keys(), recipe)
    plan = _with_settings(plan, settings, "--set")
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
    _require_network(plan)
    plan = _with_layers(plan, said)
    plan = _without_mirror(plan, written | settings, own)
    return recipes.change(plan, {} if seed is None else {"seed": seed}, "--seed")


def said_seed(seed: int | None, recipe: str | None, settings: dict[str, Any]) -> int | None:
    """Return the seed that the user gives: as such, in a recipe file or in settings."""
    if seed is not None:
        return seed
    written = recipes.written_in(recipe) if recipe and recipe.endswith(".toml") else {}
    found = (written | settings).get("seed")
    return found if isinstance(found, int) else None


def changed(plan: Recipe, values: dict[str, Any], where: str) -> Recipe:
    """A plan with other values, as `--set` has it. Raises `RecipeError`, also for a value without effect."""
    plan = _with_settings(plan, values, where)
    _require_network(plan)
    return _with_layers(plan, values)


def _require_network(plan: Recipe) -> None:
    """Raises `UsageError` where the network has no such weights, or does not work at so small a size."""
    if plan.weights not in ("auto", "none") and not Path(plan.weights).is_file():
        raise UsageError(f"{plan.weights}: there is no such weights file; --weights takes auto, none or a path")
    smallest = SMALLEST[plan.model] if plan.model in SCRATCH_MODELS else BACKBONES[plan.model].min_size
    if 0 < plan.size < smallest:
        raise UsageError(f"'{plan.model}' works at {smallest} pixels and more, received size {plan.size}")


def _with_settings(plan: Recipe, settings: dict[str, Any], where: str) -> Recipe:
    plan = recipes.change(plan, settings, where)
    _refuse_without_effect(plan, settings, where)
    if plan.finetune_layers:
        plan = recipes.change(plan, {TWINS[key]: settings[key] for key in TWINS.keys() & settings} | settings, where)
    return plan


def _without_mirror(plan: Recipe, wishes: dict[str, Any], own: bool) -> Recipe:
    """Return the recipe without mirror images anywhere, where `flip` is set to false.

    Some images mean something else in the mirror, such as digits.
    """
    if wishes.get("flip") is not False:
        return plan
    views = {} if own else {"views": ["original"]}
    return recipes.change(plan, {"test_time_flip": False} | views | wishes, "--set")


_MOVES = frozenset(
    ("rotation", "shift", "zoom", "shear", "flip", "rand_augment", "random_erasing", "mixup", "cutmix", "mix_chance")
)
_OF_CNNS = frozenset(("filters", "batch_norm"))
_OF_BACKBONES = frozenset(("weights", "features", "views"))
_OF_PLATEAUS = frozenset(("early_stopping_patience", "reduce_patience", "reduce_factor"))
_OF_TUNING = frozenset(field.name for field in fields(Recipe) if field.name.startswith("finetune_"))
_OF_SEARCHES = frozenset(("candidates", "seed", "name", "test_time_shift"))


def _refuse_without_effect(plan: Recipe, keys: Collection[str], where: str) -> None:
    """Raises `RecipeError` for a key that this recipe would pass over in silence."""
    for useless, why in _without_effect(plan):
        if wrong := useless & set(keys):
            raise RecipeError(f"{where}: '{min(wrong)}' has no effect on the recipe '{plan.name}': {why}")


def _without_effect(plan: Recipe) -> Iterator[tuple[Set[str], str]]:
    if plan.candidates:
        others = {field.name for field in fields(Recipe)} - _OF_SEARCHES
        yield others, f"it tries {' and '.join(plan.candidates)} as they are; set it for one of them"
        return
    if plan.model in SCRATCH_MODELS:
        yield _OF_BACKBONES | _OF_TUNING, "it trains a network from scratch"
        if plan.model == MODERN_CNN:
            yield {"batch_norm"}, f"'{MODERN_CNN}' always has batch norm"
    else:
        yield _OF_CNNS, "its network is a pretrained one"
        if not plan.finetune_layers:
            yield _OF_TUNING - {"finetune_layers"}, "it tunes no layer of the network; that goes with 'finetune'"
            moves = _MOVES if plan.flip else _MOVES - {"flip"}  # false is for pictures that the mirror makes others
            yield moves, "it looks at each picture once; augmentation goes with 'finetune'"
    if plan.schedule == "one-cycle":
        yield _OF_PLATEAUS, "its schedule is one-cycle; they go with schedule=plateau"
    elif not plan.finetune_layers:
        yield {"warmup"}, "its schedule is plateau; it goes with schedule=one-cycle"


def _said_in(recipe: Recipe, written: Collection[str]) -> set[str]:
    """Return the keys that a file changes; of candidates, also those at their default."""
    standard = Recipe()
    return {key for key in written if recipe.candidates or getattr(recipe, key) != getattr(standard, key)}


def _with_layers(plan: Recipe, said: Collection[str]) -> Recipe:
    """How many layers are tuned: what the user says, or what the recipe says as far as the backbone has so many."""
    if plan.finetune_layers and plan.model in SCRATCH_MODELS:
        raise RecipeError(f"'{plan.model}' has no pretrained layers to tune; take it with --recipe scratch or baseline")
    if plan.finetune_layers not in (0, ALL):
        most = BACKBONES[plan.model].layers
        if int(plan.finetune_layers) > most and "finetune_layers" in said:
            raise RecipeError(
                f"'finetune_layers' must be from 0 to {most}, the layers that '{plan.model}' has to tune, or \"{ALL}\"; "
                f"received {plan.finetune_layers}"
            )
        plan = plan if int(plan.finetune_layers) < most else replace(plan, finetune_layers=ALL)
    others = "finetune_layers" not in said or "finetune_all_from" in said
    return plan if others else replace(plan, finetune_all_from=0)
