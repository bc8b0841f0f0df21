"""The recipe: every key is declared once, in `Recipe`.

The reference page is made from it (docs/recipe_keys.py).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whatsit.errors import RecipeError, suggest
from whatsit.images.split import Fractions, parse_fractions
from whatsit.images.views import FLIP, ORIGINAL, asked_views
from whatsit.models.backbones import BACKBONES, DEFAULT
from whatsit.models.cnn import SCRATCH_MODELS
from whatsit.models.onnx_about import ENDING
from whatsit.training.knobs import (
    ALL,
    AUTO,
    Choice,
    Span,
    backbones,
    depths,
    if_mirrored,
    layers,
    rates_from_scratch,
    sizes_from_scratch,
    sizes_of_backbones,
)
from whatsit.training.recipe_keys import (
    FROM_SCRATCH,
    LIVE,
    MIRRORS,
    NAMED,
    ONE_CYCLE,
    PLATEAU,
    PRETRAINED,
    SIMPLE,
    TUNES,
    Key,
    key,
    keys_of,
)

FOLDER = Path(__file__).parent.parent / "recipes"
SOME_EPOCHS, WHOLE_EPOCHS, WHOLE_SHIFT = 2, 5, 0.125  # of a fine-tuning whose recipe leaves them open
_L2 = Choice((0.0, 1e-6, 1e-5, 1e-4, 1e-3))
_FILTERS = Choice(((), (32, 64, 128, 256), (48, 96, 192), (48, 96, 192, 256)))
_SHARE, _PATIENCE = (0.0, 1.0), (1, 10_000)


@dataclass(frozen=True)
class Recipe:
    """Every key of a training run.

    Sizes are in pixels, angles in degrees, shares from 0 to 1.

    A key is declared here and nowhere else: see `Key`. The kinds of recipes that `search` distinguishes are `head` (every
    pretrained network), `finetune`, `scratch` (every network from scratch) and `simple-cnn`.
    """

    # fmt: off
    name: str = key("fast", "The name of the recipe, as runs show it.", beside_ladder=True, fixed=True)
    model: str = key(DEFAULT, "`simple-cnn` and `modern-cnn` are trained from scratch; a backbone is pretrained; one in a file "
        "stays frozen (docs/how-to/backbones.md).", "network", choices=(*SCRATCH_MODELS, *BACKBONES), endings=(ENDING,),
        also=("backbone",), search={"head": backbones})
    weights: str = key(AUTO, "Of the backbone: `auto` (ImageNet), `none` (random), or a path.", "network",
        when=(PRETRAINED, NAMED))
    size: int = key(0, "Side at which the network works; 0: chosen from the images.", "network", within=(0, 1024),
        also=("image_size", "img_size", "imgsz"), search={"head": sizes_of_backbones, "scratch": sizes_from_scratch})
    filters: tuple[int, ...] = key((), "Channels of each stage of a network from scratch; none: its own.", "network",
        within=(1, 2048), most=8, when=(FROM_SCRATCH,), search={"simple-cnn": _FILTERS})
    batch_norm: bool = key(False, "Batch norm after each convolution of `simple-cnn`; `modern-cnn` always has it.", "network",
        when=(FROM_SCRATCH, SIMPLE), search={"simple-cnn": Choice((False, True))})
    hidden: int = key(256, "Units of the head's hidden layer; 0: none.", "head", within=(0, 8192),
        search={"head": Choice((0, 128, 256, 512)), "simple-cnn": Choice((128, 256, 512))})
    dropout: float = key(0.5, "Share of the head's inputs that is dropped.", "head", within=(0.0, 0.95),
        search={"head": Span(0.0, 0.7), "scratch": Span(0.0, 0.6)})
    features: str = key(AUTO, "`last`: the deepest map; `all`: several depths; `auto`: what does better in validation.", "head",
        choices=("last", "all", AUTO), when=(PRETRAINED,), search={"head": depths})
    views: tuple[str, ...] = key((ORIGINAL, FLIP), "Views of each training image whose features are computed.", "views",
        inner="train", choices=(ORIGINAL, FLIP), needed=ORIGINAL, when=(PRETRAINED,),
        search={"head": if_mirrored((ORIGINAL, FLIP), (ORIGINAL,))})
    test_time_flip: bool = key(False, "Predict by the mean logits of an image and its mirror image.", "views",
        search={"head": if_mirrored(False, True)})
    test_time_shift: float = key(0.0, "Predict also by two views, mirrored as well, moved diagonally by this share of the side.",
        "views", within=(0.0, 0.25))
    epochs: int = key(30, "Epochs of a network from scratch, or of a head.", "fit", within=(1, 10_000), also=("num_epochs",))
    batch_size: int = key(0, "0: a sixteenth of an epoch, 32 to 512 (to 128 of `simple-cnn`).", "fit", within=(0, 4096),
        also=("batch", "bs"), search={"head": Choice((0, 64, 128, 256, 512)), "scratch": Choice((32, 64, 128, 256))})
    optimizer: str = key("adam", "`adam` (with decoupled weight decay) or `sgd` (with Nesterov momentum 0.9).", "fit",
        choices=("adam", "sgd"))
    learning_rate: float = key(0.0003, "From scratch with `sgd` it is for batches of 512; other sizes take it in proportion.",
        "fit", within=(1e-8, 10.0), also=("lr",), log=True,
        search={"head": Span(1e-4, 3e-3, log=True), "scratch": rates_from_scratch})
    schedule: str = key("plateau", "`plateau`: falls where validation gets no better; `one-cycle`: up and down over all epochs.",
        "fit", choices=("plateau", "one-cycle"))
    warmup: float = key(0.15, "Share of a one-cycle schedule in which the learning rate rises.", "fit", within=(0.0, 0.9),
        when=(ONE_CYCLE,))
    weight_decay: float = key(0.0, "Of kernels, times the learning rate each step (decoupled).", "fit", within=_SHARE,
        also=("wd",), log=True)
    l2: float = key(0.0, "Times half the squared kernels, added to the loss.", "fit", within=_SHARE, log=True,
        search={"head": _L2, "simple-cnn": _L2})
    label_smoothing: float = key(0.0, "Share of each target that is spread over all classes.", "fit", within=(0.0, 0.9),
        search={"head": Span(0.0, 0.15), "scratch": Span(0.0, 0.15)})
    averaging: float = key(0.0, "Decay of the moving average of the weights that ships; 0: none.", "fit", within=(0.0, 0.9999))
    class_weights: str = key(AUTO, "Weight of an example: `auto` and `sqrt`: 1 / root of the size of its class; `effective`: "
        "by the effective number; `balanced`: 1 / size; `none`: 1.", "fit",
        choices=(AUTO, "none", "sqrt", "effective", "balanced"))
    early_stopping_patience: int = key(10, "Epochs without a better validation loss before training stops.", "fit",
        within=_PATIENCE, when=(PLATEAU,), also=("patience",))
    reduce_patience: int = key(5, "Epochs without a better validation loss before the learning rate falls.", "fit",
        within=_PATIENCE, when=(PLATEAU,))
    reduce_factor: float = key(0.5, "Factor by which the learning rate falls.", "fit", within=(0.01, 0.99), when=(PLATEAU,))
    finetune_layers: int | str = key(0, "The deepest layers with weights that are tuned after the head; 0: none.", "finetune",
        within=(0, 10_000), words=(ALL,), when=(PRETRAINED,), search={"head": layers})
    finetune_all_from: int = key(0, "Training images from which on all layers are tuned; 0: never.", "finetune",
        within=(0, 2**31 - 1), when=(PRETRAINED, TUNES))
    finetune_epochs: int = key(0, f"Epochs of fine-tuning; 0: {SOME_EPOCHS} of some layers, which few images are soon learned "
        f"by heart with, and {WHOLE_EPOCHS} of all.", "finetune", within=(0, 10_000), when=(PRETRAINED, TUNES))
    finetune_images: int = key(0, "Images seen in fine-tuning at most, over all epochs, of which there are 3 at least; 0: any "
        "number.", "finetune", within=(0, 2**31 - 1), when=(PRETRAINED, TUNES))
    finetune_batch_size: int = key(64, "Batch size of fine-tuning.", "finetune", within=(1, 4096), when=(PRETRAINED, TUNES),
        search={"finetune": Choice((32, 64, 128))})
    finetune_learning_rate: float = key(0.0002, "Highest learning rate of fine-tuning, always one-cycle.", "finetune",
        within=(1e-8, 10.0), when=(PRETRAINED, TUNES), log=True, search={"finetune": Span(3e-5, 1e-3, log=True)})
    rotation: float = key(0.0, "At most this many degrees either way.", "augment", within=(0.0, 180.0), when=(LIVE,),
        search={"simple-cnn": Span(0.0, 20.0)})
    shift: float | str = key(0.0, f'At most this share of the side, either way; "auto": {WHOLE_SHIFT} where all layers of a '
        "pretrained network are tuned, else 0.", "augment", within=_SHARE, words=(AUTO,), when=(LIVE,),
        search={"finetune": Span(0.0, 0.15), "scratch": Span(0.0, 0.15)})
    zoom: float = key(0.0, "Of each side by at most this share, either way.", "augment", within=(0.0, 0.9), when=(LIVE,),
        search={"simple-cnn": Span(0.0, 0.15)})
    shear: float = key(0.0, "At most this share of the height, sideways.", "augment", within=(0.0, 2.0), when=(LIVE,),
        search={"simple-cnn": Span(0.0, 0.15)})
    flip: bool = key(False, "Mirror images; false also keeps the views from being mirrored.", "augment", when=(MIRRORS,),
        beside_ladder=True)
    rand_augment: float = key(0.0, "Magnitude of two random changes of an image (RandAugment).", "augment", within=(0.0, 30.0),
        when=(LIVE,))
    random_erasing: float = key(0.0, "Chance that a rectangle of an image is erased.", "augment", within=_SHARE, when=(LIVE,),
        search={"scratch": Span(0.0, 0.5)})
    mixup: float = key(0.0, "Alpha of the mixture of two images.", "augment", within=(0.0, 10.0), when=(LIVE,))
    cutmix: float = key(0.0, "Alpha of the area that comes from another image.", "augment", within=(0.0, 10.0), when=(LIVE,))
    mix_chance: float = key(1.0, "Chance of a batch to be mixed by either.", "augment", within=_SHARE, when=(LIVE,))
    ladder: bool = key(False, "Climb from a linear probe over frozen backbones to fine-tuning, as far as the time goes; all else "
        "but `flip` is chosen on the way.", beside_ladder=True, fixed=True)
    split: str = key(AUTO, "Percents of the images that train, validate and test; `auto`: 70/15/15, where at most 5,000 "
        "validate. Splits that DATA comes with stay.", form="three percents that make 100, such as 80/10/10,",
        parse=parse_fractions, words=(AUTO,), also=("val_split", "validation_split", "test_size"), beside_ladder=True, fixed=True)
    seed: int = key(0, "Of the split and of training.", within=(0, 2**31 - 1), beside_ladder=True, fixed=True)
    # fmt: on

    @property
    def fractions(self) -> Fractions | None:
        """Return what `split` asks for; None for `auto`."""
        return None if self.split == AUTO else parse_fractions(self.split)

    def test_views(self, side: int) -> tuple[str, ...]:
        """Return the views whose mean logits are the prediction, of images with that side."""
        return asked_views(side, flip=self.test_time_flip, shift=self.test_time_shift)


KEYS: Mapping[str, Key] = keys_of(Recipe)


def without_effect(recipe: Recipe, names: Collection[str]) -> tuple[str, str] | None:
    """Return the first of these keys without effect on this recipe, and why.

    None where all count.
    """
    for name in sorted(set(names) & KEYS.keys()):
        if recipe.ladder:
            if not KEYS[name].beside_ladder:
                return (
                    name,
                    "it chooses what suits the data and the time; set it for a recipe such as 'fast' or 'finetune'",
                )
            continue
        for condition in KEYS[name].when:
            if not condition.holds(recipe):
                return name, condition.why_not
    return None


def names() -> tuple[str, ...]:
    """Return the names of the recipes that come with whatsit."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml") if path.stem != "criteria"))


def load(recipe: str) -> Recipe:
    """Return a recipe by its name, or from a TOML file. Raises `RecipeError`."""
    return change(Recipe(name=Path(recipe).stem), written_in(recipe), recipe)


def written_in(recipe: str) -> dict[str, Any]:
    """Return the keys and values of a recipe's file, as `flat` does, unchecked.

    Raises `RecipeError`.
    """
    if recipe in names():
        path = FOLDER / f"{recipe}.toml"
    elif recipe.endswith(".toml"):
        path = Path(recipe)
    else:
        raise RecipeError(f"unknown recipe '{recipe}'{suggest(recipe, names())}; or give a .toml file")
    try:
        with path.open("rb") as file:
            return flat(tomllib.load(file), Recipe(), str(path))
    except FileNotFoundError:
        raise RecipeError(f"{path}: there is no such recipe file") from None
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: the recipe cannot be read: {error}") from None


def change(recipe: Recipe, values: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe with these values, each checked.

    `where` is named in errors. Raises `RecipeError`.
    """
    checked: dict[str, Any] = {}
    for name, value in flat(values, recipe, where).items():
        if name not in KEYS:
            raise RecipeError(f"{where}: unknown key '{name}'{_hint(name)}")
        checked[name] = KEYS[name].check(value, where)
    return replace(recipe, **checked)


def _hint(name: str) -> str:
    for declared in KEYS.values():
        if name.strip().lower() in declared.also:
            return f"; it is called '{declared.name}' here"
    return suggest(name, [key.path for key in KEYS.values()] if "." in name else KEYS)


def flat(values: Mapping[str, Any], recipe: Recipe, where: str) -> dict[str, Any]:
    """Return values without tables, by the names of `Recipe`.

    `recipe` is what they change. Raises `RecipeError`.

    Names may be `epochs`, `fit.epochs`, or tables such as `{"fit": {"epochs": 5}}`; those of version 0.1.0 are read too.
    """
    named = {declared.path: declared.name for declared in KEYS.values()}
    found: dict[str, Any] = {}
    for name, value in values.items():
        inside = {f"{name}.{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {name: value}
        for path, one in inside.items():
            if named.get(path, path) in found:
                raise RecipeError(f"{where}: '{named.get(path, path)}' is there twice; leave one of them out")
            found[named.get(path, path)] = one
    if found.pop("candidates", None):  # of 0.1.0: the ladder does now what they did
        found = {key: one for key, one in found.items() if key in ("name", "seed")} | {"ladder": True, "flip": True}
    return _without_twins(found, recipe) if _TWINS & found.keys() else found


_TWINS = {"finetune_all_epochs", "finetune_all_shift"}  # of 0.1.0: they held where all layers were tuned


def _without_twins(values: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Return values of version 0.1.0 in today's keys.

    They are what all layers had where all may be tuned, else what some layers had.
    """
    layers = values.get("finetune_layers", recipe.finetune_layers)
    some = (values.get("finetune_epochs", recipe.finetune_epochs or SOME_EPOCHS), values.get("shift", recipe.shift))
    epochs = values.pop("finetune_all_epochs", some[0])
    shift = values.pop("finetune_all_shift", some[1])
    if not layers:
        return values | ({"finetune_epochs": 0} if "finetune_epochs" in values else {})
    if layers == ALL or values.get("finetune_all_from", recipe.finetune_all_from):
        usual = (some[0], epochs) == (SOME_EPOCHS, WHOLE_EPOCHS) or (layers == ALL and epochs == WHOLE_EPOCHS)
        larger = max((some[1], shift), key=lambda value: value if isinstance(value, int | float) else 0.0)
        own = AUTO if (some[1], shift) == (0.0, WHOLE_SHIFT) else larger
        return values | {"finetune_epochs": 0 if usual else epochs, "shift": own}
    return values | ({"finetune_epochs": 0} if some[0] == SOME_EPOCHS else {})


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Return `["epochs=5", "views=original,flip"]` as values.

    Raises `RecipeError` for what is not `key=value`.
    """
    named = {declared.path: declared.name for declared in KEYS.values()}
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or not name:
            raise RecipeError(f"--set takes key=value, received '{setting}'")
        name = named.get(name, name)
        declared = KEYS.get(name)
        if declared and isinstance(declared.default, tuple):
            items = [item for item in text.strip("[]").split(",") if item]
            values[name] = [int(item) for item in items] if declared.within and _all_whole(items) else items
        elif declared and (text in declared.words or isinstance(declared.default, str)):
            values[name] = text
        else:
            try:
                values[name] = json.loads(text)
            except (ValueError, RecursionError):
                values[name] = text
    return values


def _all_whole(items: Iterable[str]) -> bool:
    return all(item.strip().isascii() and item.strip().isdigit() for item in items)


def to_toml(recipe: Recipe, comment: str = "") -> str:
    """Return the complete recipe in tables, every default written out."""
    lines = [f"# {line}" for line in comment.splitlines()]
    table = ""
    for declared in sorted(KEYS.values(), key=lambda declared: bool(declared.table)):
        if declared.table != table:
            table = declared.table
            lines += ["", f"[{table}]"]
        # JSON's strings, numbers, booleans and lists are TOML's too.
        value = json.dumps(getattr(recipe, declared.name), ensure_ascii=False)
        lines.append(f"{declared.inner if table else declared.name} = {value}")
    return "\n".join(lines) + "\n"
