"""A classifier that was made elsewhere as a bundle, and the names of its classes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from whatsit.bundle.format import IMPORT, Bundle, InputSpec
from whatsit.bundle.labels import labels_in, read_labels
from whatsit.bundle.make import UNMEASURED, provenance, versions
from whatsit.errors import UsageError
from whatsit.images.decode import RESIZE_RULE
from whatsit.images.scan import Dataset
from whatsit.models.onnx_classifier import OnnxClassifier
from whatsit.models.onnx_file import OnnxFile
from whatsit.models.unknown import Mahalanobis

SEED = 0  # of the split of the pictures by which it is calibrated


def labels_of(file: OnnxFile, labels: str | Path | None) -> tuple[str, ...]:
    """Return the names of the classes: of a file, or as the network itself says them.

    Raises `UsageError`.
    """
    if labels is not None:
        return read_labels(Path(labels))
    names = file.metadata.get("names", "")
    if not names:
        raise UsageError(
            f"{file.path}: it does not say its labels; give a file with a label in each line: --labels labels.txt"
        )
    return labels_in(names, str(file.path))


def imported_bundle(
    network: OnnxClassifier,
    classes: tuple[str, ...],
    temperature: float = 1.0,
    known: Mahalanobis | None = None,
    dataset: Dataset | None = None,
) -> Bundle:
    """Return the bundle of a classifier, without what is measured on it.

    Args:
        network: the classifier.
        classes: the names of its outputs.
        temperature: of its logits.
        known: its unknown score.
        dataset: split, by which it was calibrated.
    """
    about = {"resize": RESIZE_RULE, "classes": json.dumps(classes, ensure_ascii=False)}
    return Bundle(
        classes=classes,
        input=InputSpec(*network.size, RESIZE_RULE),
        graph=network.to_onnx(known, about, temperature).SerializeToString(),
        temperature=temperature,
        unknown=UNMEASURED if known else None,
        provenance=_provenance(network, dataset),
    )


def _provenance(network: OnnxClassifier, dataset: Dataset | None) -> dict[str, Any]:
    file = network.file
    recipe: dict[str, Any] = {"name": IMPORT, "model": file.path.name, "seed": SEED}
    scale, offset = (values.tolist() for values in file.scaling)
    origin = {"file": file.path.name, "sha256": file.sha256, "scale": scale, "offset": offset}
    if dataset:
        return provenance(dataset, recipe, network=origin)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    data = {"source": file.path.name, "fingerprint": "", "pictures": {}}
    return {"created": created, "data": data, "recipe": recipe, "network": origin, "versions": versions()}
