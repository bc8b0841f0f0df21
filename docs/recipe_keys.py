"""Write docs/reference/recipe-keys.md, the keys of a recipe, from their declaration: python docs/recipe_keys.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whatsit.training.knobs import Choice, written
from whatsit.training.recipe import KEYS
from whatsit.training.recipe_keys import Key

PAGE = Path(__file__).parent / "reference" / "recipe-keys.md"
HEAD = """# The keys of a recipe

Made from the declaration in `src/whatsit/training/recipe.py` by `python docs/recipe_keys.py`; do not edit.

A recipe is a TOML file: `whatsit train DATA --recipe mine.toml`. What it leaves out has its default. On the command line a key is
set by its name or with its table: `--set epochs=10`, `--set fit.epochs=10`. A key that has no effect on a recipe is refused.
`whatsit tune` searches what the last column says, by the kind of recipe: `head` (every pretrained network), `finetune`, `scratch`
(every network from scratch) and `simple-cnn`; any other key is searched with `--search`.
"""
COLUMNS = (
    "| in TOML | `--set` | default | allowed | meaning | has an effect on | tuning |\n|---|---|---|---|---|---|---|\n"
)


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for table in dict.fromkeys(declared.table for declared in KEYS.values()):
        title = f"`[{table}]`" if table else "Without a table"
        rows = [_row(declared) for declared in KEYS.values() if declared.table == table]
        parts.append(f"\n## {title}\n\n{COLUMNS}" + "\n".join(rows) + "\n")
    return "".join(parts)


def _row(declared: Key) -> str:
    default = written(declared.default) or "none"
    when = "; ".join(dict.fromkeys(condition.about for condition in declared.when)) or "every recipe"
    tuning = "; ".join(f"{kind}: {_knob(knob)}" for kind, knob in declared.search.items())
    cells = [
        f"`{declared.inner}`",
        f"`{declared.name}`",
        f"`{default}`",
        declared.limits(),
        declared.about,
        when,
        tuning,
    ]
    return f"| {' | '.join(cells)} |"


def _knob(knob: Any) -> str:
    if isinstance(knob, Choice):
        return ", ".join(word.replace(",", "-") or "none" for word in knob.words)
    if callable(knob):
        return "chosen from the recipe and the images"
    return f"{knob.low:g} to {knob.high:g}" + (" by ratio" if knob.log else "")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
