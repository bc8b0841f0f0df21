"""The pictures that a model was trained, chosen and tested on, found again."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

from whatsit.bundle.format import Bundle
from whatsit.bundle.read import find_bundle
from whatsit.errors import DataError, UsageError
from whatsit.images.datasets import FILES
from whatsit.images.scan import SPLITS, Dataset
from whatsit.images.split import split
from whatsit.progress import Reporter
from whatsit.verbs.data import open_data, require_classes


def address(data: str | Path) -> str:
    """DATA in a form that means the same from every folder."""
    return str(data) if str(data) in FILES and not Path(data).exists() else str(Path(data).resolve())


def reopen(model: str | Path, bundle: Bundle, data: str | Path | None, reporter: Reporter) -> Dataset:
    """The data set of a run folder, split as it was in that run; or, for a model alone, DATA, split as DATA is.

    Args:
        model: the run folder, or a `.whatsit` file in one or alone.
        bundle: its contents.
        data: where the pictures are now; None for where they were.

    Raises:
        UsageError: nobody says where the pictures are. DataError: they are gone, or others.
    """
    folder = find_bundle(model).parent
    data = data or _noted(folder)
    if data is None:
        raise UsageError(
            f"{model}: this needs the pictures that it was trained on; say where they are with --data DATA"
        )
    dataset = open_data(data, reporter)
    require_classes(dataset, bundle.classes)
    dataset = replace(dataset, classes=bundle.classes)
    splits = splits_of(folder)
    if not splits:
        recipe = bundle.provenance.get("recipe")
        return split(dataset, int(recipe["seed"]) if isinstance(recipe, dict) and "seed" in recipe else 0)
    pictures = tuple(replace(p, split=splits[p.digest]) for p in dataset.pictures if p.digest in splits)
    if not any(picture.split == "test" for picture in pictures):
        raise DataError(
            f"{data}: none of these are the test pictures of {folder}; say where those are with --data DATA"
        )
    return replace(dataset, pictures=pictures)


def _noted(folder: Path) -> str | None:
    try:
        data = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["data"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return data if isinstance(data, str) else None


def splits_of(folder: Path) -> dict[bytes, str]:
    """The split of each picture of a run, by the SHA-256 of its file; empty where the folder holds no run."""
    try:
        with (folder / "split.csv").open(encoding="utf-8", newline="") as file:
            return {
                bytes.fromhex(row["sha256"]): row["split"] for row in csv.DictReader(file) if row["split"] in SPLITS
            }
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}
