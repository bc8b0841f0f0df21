"""A recipe says how to train. It is a frozen dataclass, read from TOML; an unknown key or value is refused with help."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from whatsit.errors import RecipeError, suggest
from whatsit.models.backbones import BACKBONES, DEFAULT
from whatsit.models.cnn import SIMPLE_CNN

MODELS = (SIMPLE_CNN, *BACKBONES)
VIEWS = ("original", "flip")
FEATURES = ("last", "all", "auto")
FOLDER = Path(__file__).parent.parent / "recipes"


@dataclass(frozen=True)
class Recipe:
    """Every knob of a training run, with its default. Sizes in pixels, angles in degrees, shares from 0 to 1."""

    name: str = "fast"
    model: str = DEFAULT  # simple-cnn is trained from scratch; a backbone is frozen and its head trained
    weights: str = "auto"  # of the backbone: auto (ImageNet), none (random), or a path
    size: int = 0  # side at which the network works; 0: chosen from the pictures
    epochs: int = 30
    batch_size: int = 0  # 0: a sixteenth of an epoch, 32 to 512
    learning_rate: float = 0.0003
    hidden: int = 256
    dropout: float = 0.5
    features: str = "auto"  # last: the deepest map; all: several depths; auto: what does better in validation
    views: tuple[str, ...] = ("original", "flip")  # of each training picture, whose features are computed
    early_stopping_patience: int = 5  # epochs without a better validation loss before training stops
    reduce_patience: int = 2  # epochs without a better validation loss before the learning rate falls
    reduce_factor: float = 0.5
    rotation: float = 0.0  # augmentation of a network from scratch: at most so many degrees either way
    shift: float = 0.0  # at most this share of the side, either way
    zoom: float = 0.0
    shear: float = 0.0
    flip: bool = False
    seed: int = 0


_RANGES: dict[str, tuple[float, float]] = {
    "size": (0, 1024),
    "epochs": (1, 10_000),
    "batch_size": (0, 4096),
    "learning_rate": (1e-8, 10.0),
    "hidden": (1, 8192),
    "dropout": (0.0, 0.95),
    "early_stopping_patience": (1, 10_000),
    "reduce_patience": (1, 10_000),
    "reduce_factor": (0.01, 0.99),
    "rotation": (0.0, 180.0),
    "shift": (0.0, 1.0),
    "zoom": (0.0, 0.9),
    "shear": (0.0, 2.0),
    "seed": (0, 2**31 - 1),
}
_CHOICES: dict[str, tuple[str, ...]] = {"model": MODELS, "features": FEATURES, "views": VIEWS}


def names() -> tuple[str, ...]:
    """The recipes that come with whatsit."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml") if path.stem != "criteria"))


def load(recipe: str) -> Recipe:
    """A recipe by its name, or from a TOML file. Raises `RecipeError`."""
    if recipe in names():
        path = FOLDER / f"{recipe}.toml"
    elif recipe.endswith(".toml"):
        path = Path(recipe)
    else:
        raise RecipeError(f"unknown recipe '{recipe}'{suggest(recipe, names())}; or give a .toml file")
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError:
        raise RecipeError(f"{path}: there is no such recipe file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: the recipe cannot be read: {error}") from None
    return change(Recipe(name=path.stem), values, str(path))


def change(recipe: Recipe, values: Mapping[str, Any], where: str) -> Recipe:
    """The recipe with these values, each checked. `where` is named in errors. Raises `RecipeError`."""
    known = {field.name: field for field in fields(Recipe)}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise RecipeError(f"{where}: unknown key '{key}'{suggest(key, known)}")
        checked[key] = _check(key, value, getattr(Recipe(), key), where)
    return replace(recipe, **checked)


def working_size(recipe: Recipe, side: int) -> tuple[int, int]:
    """The side at which the network works, and the factor by which it enlarges its input inside the graph.

    `side` is the longer side of a typical picture. Small pictures stay small up to the network: a picture of 32 pixels
    is not enlarged before it is kept, sent or served.
    """
    if recipe.model == SIMPLE_CNN:
        return recipe.size or (32 if side <= 48 else 64), 1
    size = recipe.size or (128 if side <= 48 else 192 if side <= 96 else 224)
    factors = [factor for factor in (4, 3, 2) if size % factor == 0 and size // factor >= 0.9 * side]
    return size, (factors or [1])[0]


def working_batch_size(recipe: Recipe, samples: int) -> int:
    """The recipe's batch size, or the power of two, 32 to 512, that makes about 16 steps an epoch."""
    return recipe.batch_size or min(512, max(32, 2 ** round(math.log2(max(samples, 1) / 16))))


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`["epochs=5", "views=original,flip"]` as values. Raises `RecipeError` for what is not `key=value`."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise RecipeError(f"--set takes key=value, received '{setting}'")
        default = getattr(Recipe(), key, None)
        if isinstance(default, tuple):
            values[key] = text.split(",")
        elif isinstance(default, str):
            values[key] = text
        else:
            try:
                values[key] = json.loads(text)
            except (ValueError, RecursionError):
                values[key] = text
    return values


def to_toml(recipe: Recipe, comment: str = "") -> str:
    """The complete recipe, every default written out."""
    lines = [f"# {line}" for line in comment.splitlines()]
    # JSON's strings, numbers, booleans and lists are TOML's too.
    lines += [
        f"{field.name} = {json.dumps(getattr(recipe, field.name), ensure_ascii=False)}" for field in fields(recipe)
    ]
    return "\n".join(lines) + "\n"


def _check(key: str, value: Any, default: Any, where: str) -> Any:
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300:
        value = float(value)
    if isinstance(default, tuple) and isinstance(value, list):
        value = tuple(value)
    if type(value) is not type(default):
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", tuple: "a list"}[
            type(default)
        ]
        raise RecipeError(f"{where}: '{key}' must be {wanted}, received {str(value)[:80]!r}")
    if key in _RANGES and not _RANGES[key][0] <= value <= _RANGES[key][1]:
        low, high = _RANGES[key]
        raise RecipeError(f"{where}: '{key}' must be from {low:g} to {high:g}, received {str(value)[:80]}")
    if key in _CHOICES:
        for item in value if isinstance(value, tuple) else (value,):
            if item not in _CHOICES[key]:
                raise RecipeError(f"{where}: unknown {key} '{item}'{suggest(str(item), _CHOICES[key])}")
    if key == "views" and "original" not in value:
        raise RecipeError(f"{where}: 'views' must have 'original' in it, received {list(value)}")
    return value
