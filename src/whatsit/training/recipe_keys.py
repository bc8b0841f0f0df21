"""The declaration of a recipe's key.

It has the default, limits, meaning, when it applies, and how tuning searches it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from whatsit.errors import RecipeError, suggest
from whatsit.models.cnn import MODERN_CNN, SCRATCH_MODELS, SIMPLE_CNN
from whatsit.models.onnx_about import is_onnx


@dataclass(frozen=True)
class Condition:
    """When a key has an effect on a recipe."""

    about: str  # for the reference page
    holds: Callable[[Any], bool]  # takes the recipe
    why_not: str  # what to tell where it does not hold


FROM_SCRATCH = Condition(
    "networks from scratch", lambda recipe: recipe.model in SCRATCH_MODELS, "its network is a pretrained one"
)
PRETRAINED = Condition(
    "pretrained networks", lambda recipe: recipe.model not in SCRATCH_MODELS, "it trains a network from scratch"
)
NAMED = Condition(
    "named networks", lambda recipe: not is_onnx(recipe.model), "its network comes from an ONNX file with its weights"
)
SIMPLE = Condition(
    f"`{SIMPLE_CNN}`", lambda recipe: recipe.model != MODERN_CNN, f"'{MODERN_CNN}' always has batch norm"
)
TUNES = Condition(
    "fine-tuning",
    lambda recipe: bool(recipe.finetune_layers),
    "it tunes no layer of the network; that goes with 'finetune'",
)
_ONCE = "it looks at each picture once; augmentation goes with 'finetune'"
LIVE = Condition(
    "networks from scratch and fine-tuning",
    lambda recipe: recipe.model in SCRATCH_MODELS or bool(recipe.finetune_layers),
    _ONCE,
)
# False is for pictures that mean something else in the mirror.
MIRRORS = Condition(LIVE.about, lambda recipe: not recipe.flip or LIVE.holds(recipe), _ONCE)
PLATEAU = Condition(
    "`schedule` plateau",
    lambda recipe: recipe.schedule == "plateau",
    "its schedule is one-cycle; they go with schedule=plateau",
)
ONE_CYCLE = Condition(
    "`schedule` one-cycle, and fine-tuning",
    lambda recipe: recipe.schedule == "one-cycle" or bool(recipe.finetune_layers),
    "its schedule is plateau; it goes with schedule=one-cycle",
)


@dataclass(frozen=True)
class Key:
    """A declared key."""

    name: str
    default: Any
    about: str
    table: str = ""  # of TOML; "" for the top
    inner: str = ""  # its name in the table
    within: tuple[float, float] | None = None  # the lowest and the highest value, of each item of a list
    form: str = ""  # of a text, in words
    parse: Callable[[str], Any] | None = None  # raises ValueError for a text that has not that form
    choices: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()  # of files that may be named instead of a choice
    words: tuple[str, ...] = ()  # allowed beside a number
    needed: str = ""  # item of a list
    most: int = 0  # items of a list; 0: any number
    also: tuple[str, ...] = ()  # what others call it
    when: tuple[Condition, ...] = ()  # all must hold
    beside_ladder: bool = False  # whether a recipe that climbs the ladder uses it
    fixed: bool = False  # never searched
    log: bool = False  # searched by ratio
    search: Mapping[str, Any] = field(default_factory=dict)  # of a kind of recipe: a knob, or a function that makes one

    @property
    def path(self) -> str:
        """Its name with the table, such as `finetune.layers`."""
        return f"{self.table}.{self.inner}" if self.table else self.name

    def check(self, value: Any, where: str) -> Any:
        """Return a value in the key's type. Raises `RecipeError`; `where` is named in it."""
        default = self.default
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300:
            value = float(value)
        if isinstance(default, tuple) and isinstance(value, list):
            value = tuple(value)
        if self.words and value in self.words:
            return value
        if type(value) is not type(default):
            raise self._must_be(value, where)
        for item in value if isinstance(value, tuple) else (value,):
            self._check_item(item, where)
        if self.needed and self.needed not in value:
            raise RecipeError(f"{where}: '{self.name}' must have '{self.needed}' in it, received {list(value)}")
        if self.most and len(value) > self.most:
            raise RecipeError(f"{where}: '{self.name}' must be at most {self.most} numbers, received {len(value)}")
        return value

    def _must_be(self, value: Any, where: str) -> RecipeError:
        return RecipeError(f"{where}: '{self.name}' must be {self.kind()}, received {str(value)[:80]!r}")

    def _check_item(self, item: Any, where: str) -> None:
        if self.endings and isinstance(item, str) and item.lower().endswith(self.endings):
            return
        if self.choices and item not in self.choices:
            raise RecipeError(f"{where}: unknown {self.name} '{item}'{suggest(str(item), self.choices)}")
        if self.parse:
            try:
                self.parse(item)
            except ValueError:
                raise self._must_be(item, where) from None
        if not self.within:
            return
        if isinstance(self.default, tuple) and type(item) is not int:
            what = "must be a list of whole numbers"
            raise RecipeError(f"{where}: '{self.name}' {what}, received {str(item)[:80]!r} in it")
        low, high = self.within
        if not low <= item <= high:
            raise RecipeError(f"{where}: '{self.name}' must be from {low:g} to {high:g}, received {str(item)[:80]}")

    def kind(self) -> str:
        """Return what its values are, in words."""
        kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", tuple: "a list"}
        return " or ".join([self.form or kinds[type(self.default)], *(f'"{word}"' for word in self.words)])

    def limits(self) -> str:
        """Return the allowed values, in words."""
        if self.choices:
            return ", ".join([*self.choices, *(f"the path of an `{ending}` file" for ending in self.endings)])
        if not self.within:
            return self.kind()
        between = f"{self.within[0]:.10g} to {self.within[1]:.10g}"
        between = f"a list of {between}" if isinstance(self.default, tuple) else between
        return " or ".join([between, *(f'"{word}"' for word in self.words)])


def key(default: Any, about: str, table: str = "", **more: Any) -> Any:
    """Declare a field of the recipe; `more` as `Key` has it."""
    return field(default=default, metadata={"about": about, "table": table} | more)


def keys_of(recipe: type) -> dict[str, Key]:
    """Return the declared keys by their names."""
    found = {}
    for one in fields(recipe):
        table = one.metadata["table"]
        inner = one.name.removeprefix(f"{table}_") if table else one.name
        declared: dict[str, Any] = {"inner": inner} | dict(one.metadata)
        found[one.name] = Key(one.name, one.default, **declared)
    return found
