"""What a model file says about itself, made safe: it may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whatsit.bundle.format import Bundle
from whatsit.evaluation.metrics import Figures
from whatsit.evaluation.wording import plain

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Facts:
    """Whatever of it is there and makes sense."""

    figures: Figures | None
    source: str = ""  # the data set's name
    created: str = ""  # a date
    network: str = ""
    recipe: str = ""
    pictures: Mapping[str, Mapping[str, int]] | None = None  # by split and class


def read_facts(bundle: Bundle) -> Facts:
    """The facts of a bundle; what is damaged counts as missing."""
    figures = None
    try:
        if bundle.test:
            figures = Figures.from_json(bundle.test)
            figures = figures if tuple(figures.per_class) == bundle.classes and figures.n else None
    except ValueError:
        pass
    made: Mapping[str, Any] = bundle.provenance
    data, recipe = _table(made.get("data")), _table(made.get("recipe"))
    return Facts(
        figures,
        source=_text(data.get("source")),
        created=_text(made.get("created"))[:10],
        network=_text(recipe.get("model")),
        recipe=_text(recipe.get("name")),
        pictures=_pictures(_table(data.get("pictures")), bundle.classes),
    )


def _pictures(value: Mapping[str, Any], classes: tuple[str, ...]) -> Mapping[str, Mapping[str, int]] | None:
    try:
        return {split: {label: int(value[split].get(label, 0)) for label in classes} for split in SPLITS}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return plain(value)[:200] if isinstance(value, str) else ""
