"""The models in files, run folders, and folders of either."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from whatsit.bundle.read import find_bundle
from whatsit.errors import MissingBundleError, UsageError
from whatsit.images.walk import list_folder
from whatsit.run_files import BEST, MODEL


@dataclass(frozen=True)
class Entry:
    """A model on the shelf."""

    name: str  # unique; how it is called in the chooser and in addresses
    path: Path  # a `.whatsit` file or a run folder


def find_models(paths: Iterable[str | Path]) -> list[Entry]:
    """Return every model that the paths name.

    A path is a `.whatsit` file, a run folder, or a folder of either (the newest first).
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        with contextlib.suppress(OSError, ValueError):  # a path that cannot be looked at holds no model
            if path.is_dir() and not (path / MODEL).is_file():
                folders, files = list_folder(path)
                below = [path / name for name in folders]
                studies = [folder for folder in below if os.path.isfile(folder / BEST / MODEL)]  # noqa: PTH113 - never raises
                inside = [folder for folder in below if os.path.isfile(folder / MODEL)]  # noqa: PTH113 - as above
                inside += [path / name for name in files if name.endswith(".whatsit")]
                inside = [path] if (path / BEST / MODEL).is_file() else inside + studies
                found |= dict.fromkeys(sorted(inside, key=_age))
            elif path.exists():
                found[path] = None
    names: dict[str, Path] = {}
    for path in sorted(found):  # so that a number stays with its path, whichever is the newest
        stem = (path.resolve().name if path.is_dir() else _file_name(path)) or "model"
        stem = stem.encode(errors="backslashreplace").decode()  # a folder's name may hold what is not Unicode
        name, number = stem, 1
        while name in names:
            number += 1
            name = f"{stem} ({number})"
        names[name] = path
    called = {path: name for name, path in names.items()}
    return [Entry(called[path], path) for path in found]


def require_models(paths: Sequence[str | Path]) -> list[Entry]:
    """Return `find_models`, where each path must lead to a model.

    Raises `MissingBundleError` or `UsageError`.
    """
    for path in paths:
        if not str(path).strip():  # `Path` would take it for the current folder
            raise UsageError("MODEL is empty; give a .whatsit file, a run folder or a folder of them")
        if not Path(path).exists():
            raise MissingBundleError(f"{path}: there is no such model; train one with: whatsit train DATA")
        if not find_models([path]):
            raise UsageError(f"{path}: there is no model in this folder; train one with: whatsit train DATA")
    return find_models(paths)


def _file_name(path: Path) -> str:
    """Of `runs/food/model.whatsit`, the folder's name says more."""
    return path.resolve().parent.name if path.name == MODEL else path.stem


def _age(path: Path) -> float:
    try:
        return -find_bundle(path).stat().st_mtime
    except OSError:
        return 0.0
