"""`whatsit`, whose training only waits: `python -m tests.waiting train ...`, for what a process meets from outside.

It writes the first lines of its history, says `training` to stdout, and waits; each line to stdin is answered by `training`.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from whatsit.apps import cli
from whatsit.models import backend


def train_by_recipe(context: Any) -> None:
    """Write the beginning of a history, and wait for a signal."""
    (context.folder / "history.csv").write_text("epoch,loss\n1,0.5\n")
    print("training", flush=True)
    for _line in sys.stdin:
        print("training", flush=True)


backend.load_keras = lambda: None  # type: ignore[assignment]
sys.modules["whatsit.training.train"] = types.ModuleType("whatsit.training.train")
vars(sys.modules["whatsit.training.train"])["train_by_recipe"] = train_by_recipe

if __name__ == "__main__":
    cli.main()
