"""`whatsit import`: a classifier that was made elsewhere, as a model of whatsit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whatsit.bundle.imported import SEED, imported_bundle, labels_of
from whatsit.cache import working
from whatsit.errors import UsageError, needing
from whatsit.evaluation.metrics import Metrics
from whatsit.evaluation.recalibration import calibrated, choose_scaling
from whatsit.evaluation.shipping import set_thresholds, ship, ship_unmeasured
from whatsit.events import SILENT, Reporter
from whatsit.files import becoming
from whatsit.images.data import open_data, report_unreadable, require_classes, split_data
from whatsit.models.onnx_classifier import OnnxClassifier, open_classifier
from whatsit.models.onnx_file import OnnxFile
from whatsit.runtime.predictor import Predictor


@dataclass(frozen=True)
class Imported:
    """A model that was imported."""

    model: Path
    classes: tuple[str, ...]
    temperature: float
    tells_unknown: bool
    test: Metrics | None  # on the test split of the pictures it was calibrated on


@working()
def import_model(
    model: str | Path,
    out: str | Path,
    *,
    labels: str | Path | None = None,
    calibrate: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    reporter: Reporter = SILENT,
) -> Imported:
    """Make a `.whatsit` file of a classifier in an ONNX file.

    Args:
        model: the ONNX file: pictures in, logits or probabilities out; see docs/how-to/backbones.md.
        out: the `.whatsit` file to write. It must not exist.
        labels: a file with a label in each line, in the order of the outputs; left out where the network says them.
        calibrate: labelled pictures, as DATA of `train`: by these it gets a temperature, prediction sets, an unknown score and
            test metrics.
        settings: of the network, such as `{"scaling": "-1..1"}`; they replace those in files next to it.
        reporter: gets progress and warnings.

    Returns:
        The new model, with its test metrics where it was calibrated.

    Raises:
        UsageError: an argument or a label is wrong.
        ModelError: the file is refused, or cannot be used.
        DataError: the pictures cannot be used.
        MissingExtraError: `onnx` is not installed.
    """
    target = Path(out)
    if target.suffix != ".whatsit" or target.exists():
        what = "exists already" if target.exists() else "does not end in .whatsit"
        raise UsageError(f"{target} {what}; name a new .whatsit file with -o")
    if not Path(model).is_file():
        raise UsageError(f"{model}: there is no such ONNX file")
    with needing("Importing", "train", "onnx"):
        file = OnnxFile.open(Path(model), settings)
    classes = labels_of(file, labels)
    network = open_classifier(file, len(classes))
    reporter.say(f"{file.path.name}: {network.note}")
    with becoming(target) as path:
        if calibrate is not None:
            return _measured(network, classes, calibrate, path, target, reporter)
        if file.note:
            reporter.warn(f"{file.path.name}: {file.note}; with --calibrate DATA the best one is found")
        ship_unmeasured(imported_bundle(network, classes), path)
    return Imported(target, classes, 1.0, False, None)


def _measured(
    network: OnnxClassifier, classes: tuple[str, ...], data: str | Path, path: Path, target: Path, reporter: Reporter
) -> Imported:
    dataset = open_data(data, reporter)
    require_classes(dataset, classes)
    dataset = replace(split_data(dataset, SEED, reporter), classes=classes)
    if not network.file.knows_scaling:
        network = choose_scaling(network, classes, dataset, reporter)
    predictor = set_thresholds(Predictor(calibrated(network, classes, dataset, reporter)), dataset, reporter)
    shipped = ship(predictor, path, dataset, reporter)
    report_unreadable(shipped.test.failed, reporter)
    bundle = predictor.bundle
    return Imported(target, classes, bundle.temperature, bundle.unknown is not None, shipped.test.metrics)
