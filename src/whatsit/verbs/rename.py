"""`whatsit rename`: the same model with other names of classes, some merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whatsit.bundle.read import read_bundle
from whatsit.bundle.renamed import grouped, with_names
from whatsit.bundle.write import require_new, write_bundle
from whatsit.errors import UsageError, require_packages
from whatsit.evaluation.card import model_card
from whatsit.evaluation.shipping import set_thresholds, ship
from whatsit.events import SILENT, Reporter
from whatsit.files import becoming
from whatsit.graph.classes import with_classes
from whatsit.run.data import open_as_in_run, relabelled
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

    Returns:
        The new model, measured again where classes were merged.

    Raises:
        UsageError: a class is unknown, a name is unusable, fewer than two classes would be left, `out` exists, or the pictures
            are not known.
    """
    require_packages("Renaming classes", "train", "onnx")
    out, bundle = Path(out), read_bundle(model)
    require_new(out)
    classes, groups = grouped(bundle.classes, names)
    if bundle.costs and len(groups) < len(bundle.classes):
        raise UsageError(
            f"{model}: merged classes have no prices yet; take the costs out with whatsit costs MODEL --remove -o PLAIN "
            f"(and --data DATA for a file alone), merge PLAIN, and put in new ones"
        )
    renamed = replace(bundle, classes=classes, graph=with_classes(bundle.graph, classes, groups))
    if len(groups) == len(bundle.classes):
        new = dict(zip(bundle.classes, classes, strict=True))
        renamed = with_names(renamed, new)
        write_bundle(replace(renamed, card=model_card(renamed)), out)
        return Renamed(out, classes, False, renamed.test)
    new = {bundle.classes[number]: classes[place] for place, group in enumerate(groups) for number in group}
    dataset = relabelled(open_as_in_run(model, bundle, data, reporter), new, classes)
    # The new logits are logarithms of calibrated probabilities.
    renamed = replace(with_names(renamed, new), references=(), test=None, temperature=1.0)
    predictor = set_thresholds(Predictor(renamed), dataset, reporter)
    with becoming(out) as path:
        shipped = ship(predictor, path, dataset, reporter)
    return Renamed(out, classes, True, shipped.test.metrics.to_json())
