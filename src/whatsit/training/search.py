"""What tuning may change in a recipe, and how far: the search space of `whatsit tune`."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from whatsit.errors import RecipeError, suggest
from whatsit.models.backbones import BACKBONES
from whatsit.models.cnn import SCRATCH_MODELS, SIMPLE_CNN
from whatsit.training.finetune import tuned_layers
from whatsit.training.recipe import ALL, TWINS, Recipe, change, parse_settings, working_size

SHORT = 0.12  # of the epochs of a whole training, for a trial of a network that is trained live
FEWEST_EPOCHS = 3
PLENTY = 5000  # training pictures, from which on tuning layers is worth its time (docs/training-notes.md)
_LOGARITHMIC = frozenset(("learning_rate", "finetune_learning_rate", "weight_decay", "l2"))
_LIVE_SIZES = (32, 48, 64, 96, 128)
_FROZEN_SIZES = (96, 128, 160, 192, 224, 288, 320)


@dataclass(frozen=True)
class Span:
    """Every number from `low` to `high`; `whole` for whole numbers, `log` where ratios matter and not differences."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The values as they are written in `--set`."""
        return tuple(written(value) for value in self.values)


Knob = Span | Choice
Space = Mapping[str, Knob]


def written(value: Any) -> str:
    """A recipe's value as `--set` takes it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def ends(knob: Knob) -> tuple[Any, ...]:
    """The values of a choice, or the ends of a span."""
    if isinstance(knob, Choice):
        return knob.values
    return (int(knob.low), int(knob.high)) if knob.whole else (knob.low, knob.high)


def default_space(recipe: Recipe, side: int, pictures: int, ready: Iterable[str]) -> dict[str, Knob]:
    """What is worth trying in this recipe.

    Args:
        recipe: whose keys are searched.
        side: the longer side of a typical picture, in pixels.
        pictures: for training. With many, the deepest layers of a pretrained network may be tuned too.
        ready: other backbones whose weights are at hand.
    """
    if recipe.model in SCRATCH_MODELS:
        return _with_own(_of_scratch(recipe, side), recipe)
    space = _of_head(recipe)
    backbones = (recipe.model, *(name for name in ready if name != recipe.model)) if recipe.weights == "auto" else ()
    if len(backbones) > 1:
        space["model"] = Choice(backbones)
    if recipe.finetune_layers:
        return _with_own(space | _of_finetuning(recipe), recipe)
    if pictures >= PLENTY:
        space |= {"finetune_layers": Choice((0, 10, 20)), "features": Choice(("all", "last"))}
    if not recipe.size:
        size = working_size(recipe, side)[0]
        larger = min((other for other in _FROZEN_SIZES if other >= 1.25 * size), default=size)
        much_larger = min((other for other in _FROZEN_SIZES if other >= 1.5 * size), default=size)
        space["size"] = Choice((0, much_larger if side <= 96 else larger))
    return _with_own(space, recipe)


def _with_own(space: dict[str, Knob], recipe: Recipe) -> dict[str, Knob]:
    """The space, wide enough for the recipe as it is."""
    return {key: _wide_enough(knob, getattr(recipe, key)) for key, knob in space.items()}


def _wide_enough(knob: Knob, own: Any) -> Knob:
    if isinstance(knob, Choice):
        return knob if own in knob.values else Choice((own, *knob.values))
    return replace(knob, low=min(knob.low, own), high=max(knob.high, own))


def _of_head(recipe: Recipe) -> dict[str, Knob]:
    space: dict[str, Knob] = {
        "learning_rate": Span(1e-4, 3e-3, log=True),
        "batch_size": Choice((0, 64, 128, 256, 512)),
        "hidden": Choice((0, 128, 256, 512)),
        "dropout": Span(0.0, 0.7),
        "l2": Choice((0.0, 1e-6, 1e-5, 1e-4, 1e-3)),
        "label_smoothing": Span(0.0, 0.15),
    }
    if "flip" in recipe.views:  # of pictures that mean the same in the mirror
        space |= {"views": Choice((("original", "flip"), ("original",))), "test_time_flip": Choice((False, True))}
    return space


def _of_finetuning(recipe: Recipe) -> dict[str, Knob]:
    layers = BACKBONES[recipe.model].layers
    whole = Choice((*(count for count in (5, 10, 20, 40) if count < layers), ALL))
    space: dict[str, Knob] = {
        "finetune_layers": whole,
        "finetune_learning_rate": Span(3e-5, 1e-3, log=True),
        "finetune_batch_size": Choice((32, 64, 128)),
        "shift": Span(0.0, 0.15),
    }
    return space


def _of_scratch(recipe: Recipe, side: int) -> dict[str, Knob]:
    space: dict[str, Knob] = {
        "learning_rate": Span(recipe.learning_rate / 3, recipe.learning_rate * 5, log=True),
        "batch_size": Choice((32, 64, 128, 256)),
        "dropout": Span(0.0, 0.6),
        "label_smoothing": Span(0.0, 0.15),
        "shift": Span(0.0, 0.15),
        "random_erasing": Span(0.0, 0.5),
    }
    if recipe.model == SIMPLE_CNN:
        space |= {
            "filters": Choice(((), (32, 64, 128, 256), (48, 96, 192), (48, 96, 192, 256))),
            "batch_norm": Choice((False, True)),
            "hidden": Choice((128, 256, 512)),
            "l2": Choice((0.0, 1e-6, 1e-5, 1e-4, 1e-3)),
            "rotation": Span(0.0, 20.0),
            "zoom": Span(0.0, 0.15),
            "shear": Span(0.0, 0.15),
        }
    if not recipe.size:
        size = working_size(recipe, side)[0]
        if smaller := [other for other in _LIVE_SIZES if 0.6 * size <= other < size and side > size / 2]:
            space["size"] = Choice((0, smaller[-1]))
    return space


def to_tune(recipe: Recipe, pictures: int, settings: Container[str] = ()) -> Recipe:
    """The recipe whose keys are searched, where it leaves something open that is not among the user's `settings`.

    One head, on all depths, where it tries two and takes the better one; as many tuned layers as it takes for so many training
    pictures, so that another number is another trial.
    """
    if recipe.model not in SCRATCH_MODELS and recipe.features == "auto" and "features" not in settings:
        recipe = replace(recipe, features="all")
    if recipe.finetune_layers and tuned_layers(recipe, pictures) == ALL:
        recipe = replace(recipe, finetune_layers=ALL, finetune_all_from=0)
    return recipe


def starting_points(recipe: Recipe, space: Space) -> list[dict[str, Any]]:
    """What to try first, each as values of the space: the recipe as it is, then what is known to do well elsewhere.

    For a small network from scratch: wider stages.
    """
    held = _held_by(recipe.finetune_layers)
    own = {key: _nearest(knob, getattr(recipe, held.get(key, key))) for key, knob in space.items()}
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


def _within(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _nearest(space[key], value) for key, value in values.items() if key in space}


def _nearest(knob: Knob, value: Any) -> Any:
    """What the knob can be set to that is nearest to a value."""
    if isinstance(knob, Choice):
        return value if value in knob.values else knob.values[0]
    nearest = knob.high if value == ALL else min(max(value, knob.low), knob.high)
    return int(nearest) if knob.whole else nearest


def settings_of(base: Recipe, values: dict[str, Any]) -> dict[str, Any]:
    """What to change in a recipe so that a trial's values hold, for `--set`; all layers of a backbone that has fewer."""
    layers, model = values.get("finetune_layers", base.finetune_layers), values.get("model", base.model)
    if isinstance(layers, int) and model in BACKBONES and layers >= BACKBONES[model].layers:
        layers = ALL
    held = _held_by(layers)
    wanted = values | {"finetune_layers": layers}
    return {
        key: value
        for key, value in wanted.items()
        if value != getattr(base, key) or value != getattr(base, held.get(key, key))
    }


def _held_by(layers: int | str) -> Mapping[str, str]:
    """Which keys hold instead of others with so many tuned layers."""
    return TWINS if layers == ALL else {}


def parse_search(texts: Iterable[str], recipe: Recipe) -> dict[str, Knob]:
    """`["hidden=128,256", "dropout=0.1..0.5"]` as knobs, each value checked. Raises `RecipeError`."""
    return dict(_parse_one(text, recipe) for text in texts)


def _parse_one(text: str, recipe: Recipe) -> tuple[str, Knob]:
    key, equals, values = (part.strip() for part in text.partition("="))
    if not equals or not key or not values:
        raise RecipeError(f"--search takes key=low..high or key=value,value, received '{text}'")
    known = {field.name for field in fields(Recipe)} - {"name", "seed", "candidates"}
    if key not in known:
        raise RecipeError(f"--search: unknown key '{key}'{suggest(key, known)}")
    default = getattr(Recipe(), key)
    if span := re.fullmatch(r"(\S+?)\.\.(\S+)", values):
        low, high = (_number(end, key, text) for end in span.groups())
        for end in (low, high):
            change(recipe, {key: int(end) if isinstance(default, int) else end}, "--search")
        if not low < high:
            raise RecipeError(f"--search: '{key}' must go from a smaller to a larger number, received '{values}'")
        return key, Span(low, high, log=key in _LOGARITHMIC and low > 0, whole=isinstance(default, int))
    separator = ";" if isinstance(default, tuple) else ","
    parts = [part for part in values.split(separator) if part.strip()]
    checked = [change(recipe, parse_settings([f"{key}={part}"]), "--search") for part in parts]
    found = tuple(dict.fromkeys(getattr(one, key) for one in checked))
    if len(found) < 2:
        raise RecipeError(f"--search: '{key}' has nothing to choose from in '{values}'; use --set for one value")
    return key, Choice(found)


def _number(text: str, key: str, whole: str) -> float:
    try:
        number, default = float(text), getattr(Recipe(), key)
        if isinstance(default, bool) or not isinstance(default, int | float) or not math.isfinite(number):
            raise ValueError
        if isinstance(default, int) and number != int(number):
            raise ValueError
    except ValueError:
        raise RecipeError(f"--search: '{key}' cannot go from one number to another, received '{whole}'") from None
    return number


def for_trial(recipe: Recipe) -> Recipe:
    """The recipe of a trial: a whole schedule in fewer epochs where a network is trained live; a head is trained as it is."""
    if recipe.model in SCRATCH_MODELS:
        return replace(recipe, epochs=_short(recipe.epochs))
    if recipe.finetune_layers:
        return replace(recipe, finetune_epochs=1, finetune_all_epochs=min(2, recipe.finetune_all_epochs))
    return recipe


def longer(recipe: Recipe) -> float:
    """How many times as long as its trial the whole training of a recipe takes."""
    if recipe.model in SCRATCH_MODELS:
        return recipe.epochs / _short(recipe.epochs)
    return max(recipe.finetune_epochs, recipe.finetune_all_epochs / 2) if recipe.finetune_layers else 1.0


def _short(epochs: int) -> int:
    return min(epochs, max(FEWEST_EPOCHS, round(SHORT * epochs)))
