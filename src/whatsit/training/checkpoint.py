"""The state of a training stage on disk, to resume from after a `kill -9`.

A file is an uncompressed `.npz` of plain arrays, one of them JSON, replaced as a whole; nothing in it is code.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.files import replacing
from whatsit.training.history import Epoch

Arrays = list[npt.NDArray[Any]]


@dataclass
class State:
    """All that the next epoch depends on, and the best epoch so far."""

    epoch: int = 0  # epochs done
    done: bool = False
    plan: dict[str, int] = field(default_factory=dict)  # epochs, and steps in each
    progress: float = 0.0  # on the schedule, 0 to 1
    entries: list[Epoch] = field(default_factory=list)  # of this stage
    variables: Arrays = field(default_factory=list)  # of model, optimizer and moving average
    best: Epoch = field(default_factory=dict)
    best_weights: Arrays = field(default_factory=list)
    best_logits: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    lowest: npt.NDArray[np.float64] = field(
        default_factory=lambda: np.empty(0)
    )  # each picture's loss at its lowest mean
    plateau: dict[str, float] = field(default_factory=dict)


def save(state: State, path: Path) -> None:
    """Write the state. Raises `DiskError`."""
    about = {key: getattr(state, key) for key in ("epoch", "done", "plan", "progress", "entries", "best", "plateau")}
    arrays: dict[str, Any] = {"state": np.array(json.dumps(about)), "logits": state.best_logits, "lowest": state.lowest}
    arrays |= {f"variable_{number}": array for number, array in enumerate(state.variables)}
    arrays |= {f"best_{number}": array for number, array in enumerate(state.best_weights)}
    with replacing(path) as file:
        np.savez(file, **arrays)


def load(path: Path) -> State:
    """Return the saved state; a fresh one where there is none, or the file is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            about = json.loads(str(kept["state"]))
            return State(
                **about,
                variables=_numbered(kept, "variable"),
                best_weights=_numbered(kept, "best"),
                best_logits=kept["logits"],
                lowest=kept["lowest"],
            )
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return State()  # the disk damaged it: the stage starts again


def _numbered(kept: Any, name: str) -> Arrays:
    names: Sequence[str] = [key for key in kept.files if key.startswith(f"{name}_")]
    return [kept[f"{name}_{number}"] for number in range(len(names))]
