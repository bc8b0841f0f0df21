"""`whatsit rename`: the same model with other names of classes, some merged."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whatsit.bundle.format import Bundle
from whatsit.bundle.read import read_bundle
from whatsit.bundle.write import write_bundle
from whatsit.errors import MissingExtraError, UsageError, suggest
from whatsit.evaluation.card import model_card
from whatsit.evaluation.shipping import set_thresholds, ship
from whatsit.events import SILENT, Reporter
from whatsit.graph.classes import with_classes
from whatsit.images.names import label_fault
from whatsit.images.pictures import Pictures
from whatsit.images.scan import Dataset
from whatsit.run.data import open_as_in_run
from whatsit.runtime.predictor import Predictor


@dataclass(frozen=True)
class Renamed:
    """A model with other names of classes."""

    model: Path
    classes: tuple[str, ...]
    merged: bool
    test: Mapping[str, Any] | None  # its test metrics


def rename(
    model: str | Path,
    names: Mapping[str, str],
    out: str | Path,
    *,
    data: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> Renamed:
    """Give classes other names; those that get the same one are merged.

    The probability of merged classes is the sum of theirs. Other names change nothing else, so the model keeps its metrics; a
    model with merged classes is measured again, on the same test pictures.

    Args:
        model: a run folder, or a `.whatsit` file.
        names: the new name for each former one; classes that are not among them keep theirs.
        out: the `.whatsit` file to write. It must not exist.
        data: where the run's pictures are now, to measure merged classes; by default where they were.
        reporter: takes events.

    Raises:
        UsageError: a class is unknown, a name is unusable, fewer than two classes would be left, `out` exists, or the pictures
        are not known. Else as `open_as_in_run`.
    """
    if importlib.util.find_spec("onnx") is None:
        raise MissingExtraError("Renaming classes", "train", "onnx")
    out, bundle = Path(out), read_bundle(model)
    if out.suffix != ".whatsit":
        raise UsageError(f"{out}: the new model is a .whatsit file, such as {out.with_suffix('.whatsit')}")
    if out.exists():
        raise UsageError(f"{out} exists already; choose another name with -o, or remove it first")
    classes, groups = _grouped(bundle.classes, names)
    renamed = replace(bundle, classes=classes, graph=with_classes(bundle.graph, classes, groups))
    if len(groups) == len(bundle.classes):
        new = dict(zip(bundle.classes, classes, strict=True))
        renamed = _with_names(renamed, new)
        write_bundle(replace(renamed, card=model_card(renamed)), out)
        return Renamed(out, classes, False, renamed.test)
    new = {bundle.classes[number]: classes[place] for place, group in enumerate(groups) for number in group}
    dataset = _relabelled(open_as_in_run(model, bundle, data, reporter), new, classes)
    renamed = replace(_with_names(renamed, new), references=(), test=None)
    shipped = ship(set_thresholds(Predictor(renamed), dataset, reporter), out, dataset, reporter)
    return Renamed(out, classes, True, shipped.test.metrics.to_json())


def _grouped(classes: Sequence[str], names: Mapping[str, str]) -> tuple[tuple[str, ...], list[list[int]]]:
    """Return the new classes and, for each, the numbers of the former ones."""
    if not names:
        raise UsageError("no class is renamed; give OLD=NEW, such as cat=kitten")
    for old, new in names.items():
        if old not in classes:
            raise UsageError(f"the model has no class '{old}'{suggest(old, classes)}")
        if fault := label_fault(new):
            raise UsageError(f"the name '{new}' {fault}")
    groups: dict[str, list[int]] = {}
    for number, label in enumerate(classes):
        groups.setdefault(names.get(label, label), []).append(number)
    if len(groups) < 2:
        raise UsageError(f"only the class '{next(iter(groups))}' would be left; a model needs two at least")
    return tuple(groups), list(groups.values())


def _with_names(bundle: Bundle, new: Mapping[str, str]) -> Bundle:
    """Return a bundle whose metrics, references and counts have the new names."""
    made = dict(bundle.provenance)
    if isinstance(made.get("data"), dict):
        counts: dict[str, dict[str, int]] = {}
        for split, labels in made["data"].get("pictures", {}).items():
            counts[split] = {}
            for label, count in labels.items():
                name = new.get(label, label)
                counts[split][name] = counts[split].get(name, 0) + count
        made["data"] = made["data"] | {"pictures": counts}
    made["renamed"] = {old: name for old, name in new.items() if old != name}
    test = bundle.test and {
        **bundle.test,
        "per_class": {new[old]: row for old, row in bundle.test["per_class"].items()},
    }
    references = tuple(replace(one, label=new.get(one.label, one.label)) for one in bundle.references)
    return replace(bundle, test=test, references=references, provenance=made)


def _relabelled(dataset: Dataset, new: Mapping[str, str], classes: tuple[str, ...]) -> Dataset:
    pictures = Pictures.of(replace(one, label=new[one.label]) for one in dataset.pictures)
    return replace(dataset, pictures=pictures, classes=classes)
