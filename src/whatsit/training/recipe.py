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
from whatsit.images.views import FLIP, ORIGINAL, asked_views
from whatsit.models.backbones import BACKBONES, DEFAULT
from whatsit.models.cnn import SCRATCH_MODELS, SIMPLE_CNN

MODELS = (*SCRATCH_MODELS, *BACKBONES)
VIEWS = (ORIGINAL, FLIP)
FEATURES = ("last", "all", "auto")
CANDIDATES = ("fast", "finetune", "scratch", "baseline")
ALL = "all"
MOST_STAGES = 8
FOLDER = Path(__file__).parent.parent / "recipes"


@dataclass(frozen=True)
class Recipe:
    """Every knob of a training run, with its default. Sizes in pixels, angles in degrees, shares from 0 to 1."""

    name: str = "fast"
    model: str = DEFAULT  # simple-cnn and modern-cnn are trained from scratch; a backbone is pretrained
    weights: str = "auto"  # of the backbone: auto (ImageNet), none (random), or a path
    size: int = 0  # side at which the network works; 0: chosen from the pictures
    # The network from scratch and the head.
    filters: tuple[int, ...] = ()  # channels of each stage of a network from scratch; (): its own
    batch_norm: bool = False  # after each convolution of simple-cnn (modern-cnn has it always)
    hidden: int = 256  # units of the head's hidden layer; 0: none
    dropout: float = 0.5
    features: str = "auto"  # last: the deepest map; all: several depths; auto: what does better in validation
    views: tuple[str, ...] = ("original", "flip")  # of each training picture, whose features are computed
    test_time_flip: bool = False  # the model answers with the mean logits of a picture and its mirror image
    test_time_shift: float = 0.0  # and of two views (mirrored, with both) moved diagonally by this share of the side
    # How it is fitted: a network from scratch, or the head of a frozen backbone.
    epochs: int = 30
    batch_size: int = 0  # 0: a sixteenth of an epoch, 32 to 512 (to 128 of simple-cnn)
    optimizer: str = "adam"  # adam (with decoupled weight decay), or sgd (with Nesterov momentum 0.9)
    learning_rate: float = 0.0003  # from scratch with sgd it is for batches of 512; other sizes take it in proportion
    schedule: str = "plateau"  # plateau: falls where validation gets no better; one-cycle: up and down over all epochs
    warmup: float = 0.15  # share of a one-cycle schedule in which the learning rate rises
    weight_decay: float = 0.0  # of kernels, times the learning rate each step (decoupled)
    l2: float = 0.0  # times half the squared kernels, added to the loss
    label_smoothing: float = 0.0
    averaging: float = 0.0  # decay of the moving average of the weights that is kept; 0: none
    class_weights: str = (
        "auto"  # of examples: auto, sqrt: 1 / root of the class's number; effective; balanced: 1 / number; none
    )
    early_stopping_patience: int = 10  # epochs without a better validation loss before training stops (plateau)
    reduce_patience: int = 5  # epochs without a better validation loss before the learning rate falls (plateau)
    reduce_factor: float = 0.5
    # Fine-tuning of a backbone after its head, always one-cycle.
    finetune_layers: int | str = 0  # the deepest layers with weights that are tuned too; "all", or 0: none
    finetune_all_from: int = 0  # with so many training pictures and more, all layers are tuned; 0: never
    finetune_epochs: int = 2  # of some layers, which few pictures are soon learned by heart with
    finetune_all_epochs: int = 8  # of all layers
    finetune_all_shift: float = 0.0  # as `shift`, where all layers are tuned, so that no features could be kept
    finetune_batch_size: int = 64
    finetune_learning_rate: float = 0.0002
    # Augmentation of pictures, live.
    rotation: float = 0.0  # at most so many degrees either way
    shift: float = 0.0  # at most this share of the side, either way
    zoom: float = 0.0  # of each side by at most this share, either way
    shear: float = 0.0  # at most this share of the height, sideways
    flip: bool = False
    rand_augment: float = 0.0  # magnitude, 0 to 30, of two random changes a picture
    random_erasing: float = 0.0  # the chance that a rectangle of a picture is erased
    mixup: float = 0.0  # alpha of the mixture of two pictures
    cutmix: float = 0.0  # alpha of the area that comes from another picture
    mix_chance: float = 1.0  # of a batch to be mixed by either
    # Recipes that are tried within the time limit, the best in validation kept; all else but `test_time_shift` is theirs.
    candidates: tuple[str, ...] = ()
    seed: int = 0

    def test_views(self, side: int) -> tuple[str, ...]:
        """The views whose mean logits are the model's answer, of pictures with that side."""
        return asked_views(side, flip=self.test_time_flip, shift=self.test_time_shift)


# Where the whole network is tuned another key holds; who sets the first means both.
TWINS = {"finetune_epochs": "finetune_all_epochs", "shift": "finetune_all_shift"}

_RANGES: dict[str, tuple[float, float]] = {
    "size": (0, 1024),
    "filters": (1, 2048),
    "epochs": (1, 10_000),
    "batch_size": (0, 4096),
    "learning_rate": (1e-8, 10.0),
    "warmup": (0.0, 0.9),
    "weight_decay": (0.0, 1.0),
    "l2": (0.0, 1.0),
    "label_smoothing": (0.0, 0.9),
    "averaging": (0.0, 0.9999),
    "hidden": (0, 8192),
    "dropout": (0.0, 0.95),
    "early_stopping_patience": (1, 10_000),
    "reduce_patience": (1, 10_000),
    "reduce_factor": (0.01, 0.99),
    "test_time_shift": (0.0, 0.25),
    "finetune_layers": (0, 10_000),
    "finetune_all_from": (0, 2**31 - 1),
    "finetune_epochs": (1, 10_000),
    "finetune_all_epochs": (1, 10_000),
    "finetune_all_shift": (0.0, 1.0),
    "finetune_batch_size": (1, 4096),
    "finetune_learning_rate": (1e-8, 10.0),
    "rotation": (0.0, 180.0),
    "shift": (0.0, 1.0),
    "zoom": (0.0, 0.9),
    "shear": (0.0, 2.0),
    "rand_augment": (0.0, 30.0),
    "random_erasing": (0.0, 1.0),
    "mixup": (0.0, 10.0),
    "cutmix": (0.0, 10.0),
    "mix_chance": (0.0, 1.0),
    "seed": (0, 2**31 - 1),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "model": MODELS,
    "features": FEATURES,
    "views": VIEWS,
    "optimizer": ("adam", "sgd"),
    "schedule": ("plateau", "one-cycle"),
    "class_weights": ("auto", "none", "sqrt", "effective", "balanced"),
    "candidates": CANDIDATES,
}


def names() -> tuple[str, ...]:
    """The recipes that come with whatsit."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml") if path.stem != "criteria"))


def load(recipe: str) -> Recipe:
    """A recipe by its name, or from a TOML file. Raises `RecipeError`."""
    return change(Recipe(name=Path(recipe).stem), written_in(recipe), recipe)


def written_in(recipe: str) -> dict[str, Any]:
    """The keys and values that a recipe's file has, unchecked. Raises `RecipeError`."""
    if recipe in names():
        path = FOLDER / f"{recipe}.toml"
    elif recipe.endswith(".toml"):
        path = Path(recipe)
    else:
        raise RecipeError(f"unknown recipe '{recipe}'{suggest(recipe, names())}; or give a .toml file")
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise RecipeError(f"{path}: there is no such recipe file") from None
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: the recipe cannot be read: {error}") from None


# What others call them.
_OTHER_NAMES = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "image_size": "size",
    "img_size": "size",
    "imgsz": "size",
    "batch": "batch_size",
    "bs": "batch_size",
    "num_epochs": "epochs",
    "backbone": "model",
    "patience": "early_stopping_patience",
}


def change(recipe: Recipe, values: Mapping[str, Any], where: str) -> Recipe:
    """The recipe with these values, each checked. `where` is named in errors. Raises `RecipeError`."""
    known = {field.name: field for field in fields(Recipe)}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            other = _OTHER_NAMES.get(key.strip().lower())
            hint = f"; it is called '{other}' here" if other else suggest(key, known)
            raise RecipeError(f"{where}: unknown key '{key}'{hint}")
        checked[key] = _check(key, value, getattr(Recipe(), key), where)
    return replace(recipe, **checked)


def working_size(recipe: Recipe, side: int) -> tuple[int, int]:
    """The side at which the network works, and the factor by which it enlarges its input inside the graph.

    `side` is the longer side of a typical picture. Small pictures stay small up to the network: a picture of 32 pixels
    is not enlarged before it is kept, sent or served.
    """
    if recipe.model in SCRATCH_MODELS:
        return recipe.size or (32 if side <= 48 else 64 if side <= 80 or recipe.model == SIMPLE_CNN else 96), 1
    # On photos a larger size helps, where the features are not kept for every layer.
    size = recipe.size or (128 if side <= 48 else 192 if side <= 96 else 288 if recipe.finetune_layers else 224)
    factors = [factor for factor in range(7, 1, -1) if size % factor == 0 and size // factor >= 0.9 * side]
    return size, (factors or [1])[0]


def working_batch_size(recipe: Recipe, samples: int, side: int = 32) -> int:
    """The recipe's batch size, or the power of two, 32 to 512 (to 128 of `simple-cnn`), that makes about 16 steps an epoch.

    Of pictures with more than 32 pixels a side a batch has fewer than 512, so that it takes little more memory.
    """
    largest = 128 if recipe.model == SIMPLE_CNN else 512
    most = 512 * 32**2 // max(side, 32) ** 2
    wanted = min(samples / 16, most)
    return recipe.batch_size or min(largest, max(32, 2 ** round(math.log2(max(wanted, 1)))))


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`["epochs=5", "views=original,flip"]` as values. Raises `RecipeError` for what is not `key=value`."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or not key:
            raise RecipeError(f"--set takes key=value, received '{setting}'")
        default = getattr(Recipe(), key, None)
        if isinstance(default, tuple):
            items = [item for item in text.strip("[]").split(",") if item]
            values[key] = [int(item) for item in items] if key == "filters" and _all_whole(items) else items
        elif (key == "finetune_layers" and text == ALL) or isinstance(default, str):
            values[key] = text
        else:
            try:
                values[key] = json.loads(text)
            except (ValueError, RecursionError):
                values[key] = text
    return values


def _all_whole(items: Iterable[str]) -> bool:
    return all(item.strip().isascii() and item.strip().isdigit() for item in items)


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
    if key == "finetune_layers" and value == ALL:
        return value
    if type(value) is not type(default):
        raise RecipeError(f"{where}: '{key}' must be {_wanted(key, default)}, received {str(value)[:80]!r}")
    for item in value if isinstance(value, tuple) else (value,):
        _check_item(key, item, where)
    if key == "views" and "original" not in value:
        raise RecipeError(f"{where}: 'views' must have 'original' in it, received {list(value)}")
    if key == "filters" and len(value) > MOST_STAGES:
        raise RecipeError(f"{where}: 'filters' must be at most {MOST_STAGES} numbers, received {len(value)}")
    return value


def _check_item(key: str, item: Any, where: str) -> None:
    if key in _CHOICES and item not in _CHOICES[key]:
        raise RecipeError(f"{where}: unknown {key} '{item}'{suggest(str(item), _CHOICES[key])}")
    if key not in _RANGES:
        return
    low, high = _RANGES[key]
    if key == "filters" and type(item) is not int:
        raise RecipeError(f"{where}: 'filters' must be a list of whole numbers, received {str(item)[:80]!r} in it")
    if not low <= item <= high:
        raise RecipeError(f"{where}: '{key}' must be from {low:g} to {high:g}, received {str(item)[:80]}")


def _wanted(key: str, default: Any) -> str:
    kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", tuple: "a list"}
    wanted = kinds[type(default)]
    return f'{wanted} or "{ALL}"' if key == "finetune_layers" else wanted
