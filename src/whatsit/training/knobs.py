"""What tuning may change about a key of a recipe, and how far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from whatsit.images.views import FLIP
from whatsit.models.backbones import BACKBONES, TINY
from whatsit.models.onnx_about import is_onnx

ALL = "all"
AUTO = "auto"
PLENTY = 5000  # training images, from which on tuning layers is worth its time (docs/explanation/training-notes.md)
_LIVE_SIZES = (32, 48, 64, 96, 128)
_FROZEN_SIZES = (96, 128, 160, 192, 224, 288, 320)


@dataclass(frozen=True)
class Span:
    """Every number from `low` to `high`.

    `whole` is for whole numbers, `log` where ratios matter and not differences.
    """

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
    """Return a value as `--set` takes it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Situation:
    """What a default search space depends on."""

    recipe: Any
    side: int  # the longer side of a typical image, in pixels
    size: int  # at which the network works
    images: int  # for training
    ready: tuple[str, ...]  # backbones whose weights are at hand


def backbones(now: Situation) -> Knob | None:
    """Return other backbones whose weights are at hand."""
    own = now.recipe.model
    if is_onnx(own) or own == TINY:  # of a size of its own, or of another purpose
        return None
    found = (own, *(name for name in now.ready if name != own)) if now.recipe.weights == AUTO else ()
    return Choice(found) if len(found) > 1 else None


def sizes_of_backbones(now: Situation) -> Knob | None:
    """Return a larger size for a head on frozen features."""
    if now.recipe.size or now.recipe.finetune_layers:
        return None
    factor = 1.5 if now.side <= 96 else 1.25
    return Choice((0, min((other for other in _FROZEN_SIZES if other >= factor * now.size), default=now.size)))


def sizes_from_scratch(now: Situation) -> Knob | None:
    """Return a smaller size for a network from scratch."""
    smaller = [other for other in _LIVE_SIZES if 0.6 * now.size <= other < now.size and now.side > now.size / 2]
    return Choice((0, smaller[-1])) if smaller and not now.recipe.size else None


def layers(now: Situation) -> Knob | None:
    """Return numbers of layers to tune."""
    if now.recipe.finetune_layers:
        most = BACKBONES[now.recipe.model].layers
        return Choice((*(count for count in (5, 10, 20, 40) if count < most), ALL))
    return Choice((0, 10, 20)) if now.images >= PLENTY and not is_onnx(now.recipe.model) else None


def depths(now: Situation) -> Knob | None:
    """Return the depths of features."""
    fixed = now.recipe.finetune_layers or is_onnx(now.recipe.model)
    return Choice(("all", "last")) if now.images >= PLENTY and not fixed else None


def rates_from_scratch(now: Situation) -> Knob:
    """Return learning rates around the recipe's own."""
    return Span(now.recipe.learning_rate / 3, now.recipe.learning_rate * 5, log=True)


def if_mirrored(*values: Any) -> Callable[[Situation], Knob | None]:
    """Offer values only where images mean the same in the mirror."""
    return lambda now: Choice(values) if FLIP in now.recipe.views else None
