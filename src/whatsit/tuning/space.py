"""The search space of `whatsit tune`, its starting points and its trials."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from whatsit.errors import RecipeError, UsageError, suggest
from whatsit.images.scan import Dataset, typical_size
from whatsit.images.split import limit as limit_pictures
from whatsit.models.backbones import BACKBONES, backbones_at_hand
from whatsit.models.cnn import SCRATCH_MODELS, SIMPLE_CNN
from whatsit.training.knobs import ALL, AUTO, Choice, Knob, Situation, Space, Span
from whatsit.training.recipe import KEYS, Recipe, change, flat, parse_settings
from whatsit.training.recipe_checks import changed
from whatsit.training.resolve import tuned_epochs, tuned_layers, working_shift, working_size

SHORT = 0.12  # of the epochs of a whole training, for a trial of a network that is trained live
FEWEST_EPOCHS = 3
ENOUGH = 10_000  # training images for a trial of a pretrained network


def ends(knob: Knob) -> tuple[Any, ...]:
    """Return the values of a choice, or the ends of a span."""
    if isinstance(knob, Choice):
        return knob.values
    return (int(knob.low), int(knob.high)) if knob.whole else (knob.low, knob.high)


def default_space(recipe: Recipe, side: int, images: int, ready: Collection[str]) -> dict[str, Knob]:
    """Return what is worth trying in this recipe, wide enough for the recipe as it is.

    Args:
        recipe: whose keys are searched, each as it is declared (`Recipe`).
        side: the longer side of a typical image, in pixels.
        images: for training.
        ready: backbones whose weights are at hand.
    """
    now = Situation(recipe, side, working_size(recipe, side)[0], images, tuple(ready))
    if recipe.model in SCRATCH_MODELS:
        kinds = ["scratch"] + [SIMPLE_CNN] * (recipe.model == SIMPLE_CNN)
    else:
        kinds = ["head"] + ["finetune"] * bool(recipe.finetune_layers)
    space = {}
    for name, declared in KEYS.items():
        for kind in kinds:
            knob = declared.search.get(kind)
            knob = knob(now) if callable(knob) else knob
            if knob is not None:
                space[name] = _wide_enough(knob, getattr(recipe, name))
    return space


def searched_space(
    recipe: Recipe, dataset: Dataset, settings: Mapping[str, Any], search: Sequence[str]
) -> dict[str, Knob]:
    """Return what `search` says, else the default space beside `settings`.

    Raises `RecipeError` or `UsageError`.
    """
    fixed = flat(settings, recipe, "--set")
    if search:
        space = parse_search(search, recipe)
        if both := space.keys() & fixed:
            raise UsageError(f"'{min(both)}' is both set and searched; leave out one of them")
    else:
        default = default_space(recipe, max(typical_size(dataset)), len(dataset.of("train")), backbones_at_hand())
        space = {key: knob for key, knob in default.items() if key not in fixed}
    for key, knob in space.items():
        for value in ends(knob):
            changed(recipe, {key: value}, "--search")  # refuses what has no effect, or cannot be
    return space


def _wide_enough(knob: Knob, own: Any) -> Knob:
    if isinstance(knob, Choice):
        return knob if own in knob.values else Choice((own, *knob.values))
    return knob if own == AUTO else replace(knob, low=min(knob.low, own), high=max(knob.high, own))


def to_tune(recipe: Recipe, images: int, settings: Container[str] = ()) -> Recipe:
    """Return the recipe whose keys are searched: what it leaves open is decided.

    The user's `settings` stay.

    One head, on all depths, where it trains two and takes the better one; as many tuned layers as it takes for this number of
    training images, so that another number is another trial.
    """
    if recipe.model not in SCRATCH_MODELS and recipe.features == AUTO and "features" not in settings:
        recipe = replace(recipe, features="all")
    if recipe.finetune_layers and tuned_layers(recipe, images) == ALL:
        recipe = replace(recipe, finetune_layers=ALL, finetune_all_from=0)
    if recipe.finetune_images:
        epochs = tuned_epochs(recipe, whole=recipe.finetune_layers == ALL, images=images)
        recipe = replace(recipe, finetune_epochs=epochs, finetune_images=0)
    return recipe


def starting_points(recipe: Recipe, space: Space) -> list[dict[str, Any]]:
    """Return what to try first: the recipe as it is, then what is good elsewhere.

    For a small network from scratch: wider stages. For a head: mirror images, a larger size, and tuned layers.
    """
    own = {key: _nearest(knob, _own(recipe, key, knob)) for key, knob in space.items()}
    points = [own]
    if recipe.model == SIMPLE_CNN:
        points.append(own | _within(space, {"filters": (48, 96, 192, 256)}))
    elif recipe.model not in SCRATCH_MODELS and not recipe.finetune_layers:
        flipped = {"test_time_flip": True, "hidden": 512}
        sizes = space.get("size")
        larger = {"size": sizes.values[-1]} if isinstance(sizes, Choice) else {}
        points += [own | _within(space, flipped), own | _within(space, flipped | larger)]
        if "finetune_layers" in space:
            deeper = {"finetune_layers": 20, "features": "last", "hidden": 0, "dropout": 0.0, "learning_rate": 0.001,
                      "test_time_flip": True}  # fmt: skip
            points.insert(1, own | _within(space, deeper))
    return [point for place, point in enumerate(points) if point not in points[:place]]


def _own(recipe: Recipe, key: str, knob: Knob) -> Any:
    """Return a recipe's value; of a span also where the recipe leaves it open."""
    whole = recipe.finetune_layers == ALL
    if isinstance(knob, Span) and key == "shift":
        return working_shift(recipe, whole=whole)
    if isinstance(knob, Span) and key == "finetune_epochs":
        return tuned_epochs(recipe, whole=whole)
    return getattr(recipe, key)


def _within(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _nearest(space[key], value) for key, value in values.items() if key in space}


def _nearest(knob: Knob, value: Any) -> Any:
    """Return the knob's value that is nearest to another."""
    if isinstance(knob, Choice):
        return value if value in knob.values else knob.values[0]
    nearest = knob.high if value == ALL else min(max(value, knob.low), knob.high)
    return int(nearest) if knob.whole else nearest


def settings_of(base: Recipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to change in a recipe so that a trial's values hold.

    That is all layers of a backbone that has fewer.
    """
    layers, model = values.get("finetune_layers", base.finetune_layers), values.get("model", base.model)
    if isinstance(layers, int) and model in BACKBONES and layers >= BACKBONES[model].layers:
        layers = ALL
    wanted = {**values, "finetune_layers": layers}
    return {key: value for key, value in wanted.items() if value != getattr(base, key)}


def parse_search(texts: Iterable[str], recipe: Recipe) -> dict[str, Knob]:
    """Return `["hidden=128,256", "dropout=0.1..0.5"]` as knobs.

    Each value is checked. Raises `RecipeError`.
    """
    return dict(_parse_one(text, recipe) for text in texts)


def _parse_one(text: str, recipe: Recipe) -> tuple[str, Knob]:
    key, equals, values = (part.strip() for part in text.partition("="))
    if not equals or not key or not values:
        raise RecipeError(f"--search takes key=low..high or key=value,value, received '{text}'")
    known = {name: name for name, declared in KEYS.items() if not declared.fixed}
    key = (known | {KEYS[name].path: name for name in known}).get(key, key)
    if key not in known:
        raise RecipeError(f"--search: unknown key '{key}'{suggest(key, known)}")
    default = KEYS[key].default
    if span := re.fullmatch(r"(\S+?)\.\.(\S+)", values):
        low, high = (_number(end, default, key, text) for end in span.groups())
        for end in (low, high):
            change(recipe, {key: int(end) if isinstance(default, int) else end}, "--search")
        if not low < high:
            raise RecipeError(f"--search: '{key}' must go from a smaller to a larger number, received '{values}'")
        return key, Span(low, high, log=KEYS[key].log and low > 0, whole=isinstance(default, int))
    separator = ";" if isinstance(default, tuple) else ","
    parts = [part for part in values.split(separator) if part.strip()]
    checked = [change(recipe, parse_settings([f"{key}={part}"]), "--search") for part in parts]
    found = tuple(dict.fromkeys(getattr(one, key) for one in checked))
    if len(found) < 2:
        raise RecipeError(f"--search: '{key}' has nothing to choose from in '{values}'; use --set for one value")
    return key, Choice(found)


def _number(text: str, default: Any, key: str, whole: str) -> float:
    try:
        number = float(text)
        if isinstance(default, bool) or not isinstance(default, int | float) or not math.isfinite(number):
            raise ValueError
        if isinstance(default, int) and number != int(number):
            raise ValueError
    except ValueError:
        raise RecipeError(f"--search: '{key}' cannot go from one number to another, received '{whole}'") from None
    return number


def images_for_trials(dataset: Dataset, recipe: Recipe) -> Dataset:
    """Return the data set without test images.

    For a pretrained network it has at most `ENOUGH` training images.
    """
    train = dataset.of("train")
    if recipe.model not in SCRATCH_MODELS and len(train) > ENOUGH:
        part = replace(dataset, pictures=train)
        train = limit_pictures(part, math.ceil(ENOUGH / len(dataset.classes)), recipe.seed).pictures
    kept = {*train.names(), *dataset.of("validation").names()}
    return replace(dataset, pictures=dataset.pictures.take(dataset.pictures.named(kept)))


def for_trial(recipe: Recipe) -> Recipe:
    """Return the recipe of a trial.

    A network that is trained live gets a whole schedule in fewer epochs; a head is trained as it is.
    """
    if recipe.model in SCRATCH_MODELS:
        return replace(recipe, epochs=_short(recipe.epochs))
    if recipe.finetune_layers:
        return replace(recipe, finetune_epochs=_short_tuning(recipe))
    return recipe


def longer(recipe: Recipe) -> float:
    """Return how many times as long as its trial the whole training of a recipe takes."""
    if recipe.model in SCRATCH_MODELS:
        return recipe.epochs / _short(recipe.epochs)
    if recipe.finetune_layers:
        return tuned_epochs(recipe, whole=recipe.finetune_layers == ALL) / _short_tuning(recipe)
    return 1.0


def _short(epochs: int) -> int:
    return min(epochs, max(FEWEST_EPOCHS, round(SHORT * epochs)))


def _short_tuning(recipe: Recipe) -> int:
    """Return the epochs of fine-tuning in a trial: 2 of all layers, 1 of some."""
    return min(2, tuned_epochs(recipe, whole=True)) if recipe.finetune_layers == ALL else 1


def space_to_json(space: Space) -> dict[str, Any]:
    """Return a space as JSON holds it, for `space_from_json`."""
    return {
        key: {"values": list(knob.values)} if isinstance(knob, Choice) else vars(knob) for key, knob in space.items()
    }


def space_from_json(values: Mapping[str, Any]) -> dict[str, Knob]:
    """Return a space as it was written.

    Raises `LookupError`, `TypeError` or `ValueError` where it is something else.
    """

    def knob(one: Mapping[str, Any]) -> Knob:
        if "values" not in one:
            return Span(**one)
        return Choice(tuple(tuple(value) if isinstance(value, list) else value for value in one["values"]))

    return {str(key): knob(one) for key, one in json.loads(json.dumps(values)).items()}
