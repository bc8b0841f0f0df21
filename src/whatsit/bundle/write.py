"""Write a bundle, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

from whatsit.bundle.format import CARD, COSTS_FORMAT, FORMAT, GRAPH, MANIFEST, REFERENCE_PREDICTIONS, Bundle
from whatsit.errors import UsageError
from whatsit.files import replacing

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same contents make the same file


def write_bundle(bundle: Bundle, path: Path) -> None:
    """Write a `.whatsit` file, or leave the one that is there and raise `DiskError`."""
    answers = [
        {"file": g.file, "label": g.label, "probabilities": list(g.probabilities), "ood_score": g.ood_score}
        for g in bundle.references
    ]
    members = {GRAPH: bundle.graph, CARD: bundle.card.encode(), REFERENCE_PREDICTIONS: _json(answers)}
    members |= {f"golden/{reference.file}": reference.data for reference in bundle.references}
    manifest = {
        "format": COSTS_FORMAT if bundle.costs else FORMAT,
        "classes": list(bundle.classes),
        "input": {
            "height": bundle.input.height,
            "width": bundle.input.width,
            "channels": "RGB",
            "dtype": "uint8",
            "resize": bundle.input.resize,
        },
        "calibration": {"method": "temperature", "temperature": bundle.temperature, "in_graph": True},
        "unknown": vars(bundle.unknown) if bundle.unknown else None,
        "conformal": {"scores": list(bundle.conformal.scores)} if bundle.conformal else None,
        "test": bundle.test,
        "provenance": bundle.provenance,
        **({"costs": bundle.costs.to_json()} if bundle.costs else {}),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, data in {MANIFEST: _json(manifest), **members}.items():
            kind = zipfile.ZIP_DEFLATED if name.endswith((".json", ".md")) else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, kind)


def require_new(out: Path) -> None:
    """Raise `UsageError` for a path that is no `.whatsit` file, or that exists."""
    if out.suffix != ".whatsit":
        such = out.with_suffix(".whatsit") if out.name else out / "model.whatsit"
        raise UsageError(f"{out}: the new model is a .whatsit file, such as {such}")
    if out.exists():
        raise UsageError(f"{out} exists already; choose another name with -o, or remove it first")


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode(errors="backslashreplace")
