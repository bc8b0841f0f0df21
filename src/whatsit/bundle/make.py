"""A bundle of what was trained: graph, calibration and provenance."""

from __future__ import annotations

import json
import math
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whatsit.bundle.format import Bundle, InputSpec, UnknownRule
from whatsit.bundle.write import write_bundle
from whatsit.files import written_by_others
from whatsit.images.decode import RESIZE_RULE
from whatsit.images.pictures import SPLITS
from whatsit.images.scan import Dataset
from whatsit.models.unknown import METHOD

if TYPE_CHECKING:
    import keras

    from whatsit.training.trained import Trained

UNMEASURED = UnknownRule(METHOD, math.inf, 1.0)  # until the threshold is fitted on predictions of the graph itself
_PACKAGES = ("whatsit", "tensorflow-cpu", "tensorflow", "keras", "onnx", "onnxruntime", "openvino", "numpy", "pillow")


def make_bundle(trained: Trained) -> Bundle:
    """Return the bundle of a trained classifier, without what is measured on it."""
    classes = trained.dataset.classes
    about = {"resize": RESIZE_RULE, "classes": json.dumps(classes, ensure_ascii=False)}
    graph = trained.whole.to_onnx(trained.known, about, trained.test_views)
    return Bundle(
        classes=classes,
        input=InputSpec(*trained.input_size, RESIZE_RULE),
        graph=graph.SerializeToString(),
        temperature=trained.temperature,
        unknown=UNMEASURED,
        provenance=provenance(trained.dataset, _recipe_of(trained), **_network_of(trained)),
    )


def _recipe_of(trained: Trained) -> dict[str, Any]:
    """Return the recipe without the folders of this machine."""
    recipe = dict(vars(trained.recipe))
    return recipe | {"model": Path(recipe["model"]).name}


def _network_of(trained: Trained) -> dict[str, Any]:
    """Return where the network came from, where its name does not say it."""
    return {"network": dict(trained.features.origin)} if trained.features.origin else {}


def write_best(path: Path, trained: Trained) -> None:
    """Write the best model of a climb so far, which is not measured yet."""
    write_bundle(make_bundle(trained), path)


def save_keras_model(trained: Trained, path: Path) -> keras.Model | None:
    """Write a trained classifier as a Keras file for other tools, and return it.

    None, and no file, where its network is not of Keras.
    """
    model = trained.keras_model()
    if model is None:
        return None
    with written_by_others(path, path.parent, 4 * int(model.count_params())):
        model.save(path)
    return model


def provenance(dataset: Dataset, recipe: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return where a model comes from: time, data, recipe, versions of packages."""
    data = {
        "source": Path(dataset.source).name,
        "fingerprint": dataset.fingerprint(),
        "pictures": {name: dataset.of(name).counts() for name in SPLITS},
    }
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"created": created, "data": data, "recipe": recipe, **more, "versions": versions()}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a model depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
