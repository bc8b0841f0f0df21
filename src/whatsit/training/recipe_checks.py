"""A recipe with other values, refused where they have no effect or cannot be."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from whatsit.errors import ModelError, RecipeError, UsageError
from whatsit.models.backbones import BACKBONES, DEFAULT
from whatsit.models.cnn import SCRATCH_MODELS, SMALLEST
from whatsit.models.onnx_about import is_onnx
from whatsit.models.onnx_file import OnnxFile
from whatsit.models.opening import stamp_of
from whatsit.training.knobs import ALL, AUTO
from whatsit.training.recipe import Recipe, change, flat, without_effect


def changed(recipe: Recipe, values: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe with other values, as `--set` has it.

    Raises `RecipeError`, also for a value without effect.
    """
    recipe = with_settings(recipe, values, where)
    require_network(recipe)
    return with_layers(recipe, flat(values, recipe, where))


def with_settings(recipe: Recipe, settings: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe with these values.

    Raises `RecipeError`, also for a value without effect.
    """
    changed = change(recipe, settings, where)
    refuse_without_effect(changed, flat(settings, recipe, where), where)
    return changed


def refuse_without_effect(recipe: Recipe, names: Collection[str], where: str) -> None:
    """Raise `RecipeError` for a key that this recipe would ignore."""
    if found := without_effect(recipe, names):
        name, why = found
        raise RecipeError(f"{where}: '{name}' has no effect on the recipe '{recipe.name}': {why}")


def located(recipe: Recipe) -> Recipe:
    """Return the recipe with the path and the size of a network in an ONNX file.

    Raises `UsageError` where the file is refused.
    """
    if not is_onnx(recipe.model):
        return recipe
    return replace(recipe, model=str(Path(recipe.model).resolve()), size=_side(recipe))


def _side(recipe: Recipe) -> int:
    """Return the side of the pictures that a network in an ONNX file takes.

    Raises `UsageError` where the file is refused.
    """
    path = Path(recipe.model).resolve()
    try:
        return _side_of(path, recipe.size, stamp_of(str(path), recipe.weights))
    except ModelError as error:
        raise UsageError(str(error)) from None


@functools.lru_cache(maxsize=8)
def _side_of(path: Path, size: int, stamp: tuple[int, ...]) -> int:
    """Check a file, once as long as its stamp is the same."""
    return OnnxFile.open(path, {"size": size} if size else {}).side


def require_network(recipe: Recipe) -> None:
    """Raise `UsageError` where the network has no such weights or is too small."""
    if is_onnx(recipe.model):
        if recipe.weights != AUTO:
            raise UsageError(f"{recipe.model} has its weights in it; leave out weights={recipe.weights}")
        _side(recipe)
        return
    if recipe.weights not in ("auto", "none") and not Path(recipe.weights).is_file():
        raise UsageError(f"{recipe.weights}: there is no such weights file; --weights takes auto, none or a path")
    smallest = SMALLEST[recipe.model] if recipe.model in SCRATCH_MODELS else BACKBONES[recipe.model].min_size
    if 0 < recipe.size < smallest:
        raise UsageError(f"'{recipe.model}' works at {smallest} pixels and more, received size {recipe.size}")


def with_layers(recipe: Recipe, said: Collection[str]) -> Recipe:
    """Return the recipe with no more tuned layers than the backbone has.

    `said` are the keys that the user set.
    """
    if recipe.finetune_layers and recipe.model in SCRATCH_MODELS:
        raise RecipeError(
            f"'{recipe.model}' has no pretrained layers to tune; take it with --recipe scratch or baseline"
        )
    if recipe.finetune_layers and is_onnx(recipe.model):
        raise RecipeError(
            f"'{Path(recipe.model).name}' is an ONNX file, whose layers cannot be tuned; take it with --recipe fast, or a named "
            f"backbone such as {DEFAULT}"
        )
    if recipe.finetune_layers not in (0, ALL):
        most = BACKBONES[recipe.model].layers
        if int(recipe.finetune_layers) > most and "finetune_layers" in said:
            raise RecipeError(
                f"'finetune_layers' must be from 0 to {most}, the layers that '{recipe.model}' has to tune, or \"{ALL}\"; "
                f"received {recipe.finetune_layers}"
            )
        recipe = recipe if int(recipe.finetune_layers) < most else replace(recipe, finetune_layers=ALL)
    others = "finetune_layers" not in said or "finetune_all_from" in said
    return recipe if others else replace(recipe, finetune_all_from=0)
