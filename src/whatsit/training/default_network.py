"""The frozen network for the audit and the report, which train nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
from importlib import metadata
from pathlib import Path

from whatsit.cache import cache_folder, mark_used
from whatsit.errors import MissingExtraError
from whatsit.files import DiskError, write_bytes, write_text
from whatsit.models import backbones, classifier
from whatsit.models.backend import load_keras
from whatsit.models.network import KerasNetwork
from whatsit.models.weights import published_file
from whatsit.training.features import FrozenNetwork
from whatsit.training.recipe import Recipe
from whatsit.training.resolve import working_size


def default_network(side: int) -> FrozenNetwork:
    """Return the backbone whose weights come along, for images of that longer side.

    Its graph is cached, so that the next time nothing of TensorFlow is loaded.
    """
    recipe = Recipe()
    size, upscale = working_size(recipe, side)
    key = _key_of_graph(f"{recipe.model} {size} {upscale}")
    folder = cache_folder() / "networks"
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        about = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        graph = (folder / f"{key}.onnx").read_bytes()
        if hashlib.sha256(graph).hexdigest() == about["sha256"]:
            mark_used(folder / f"{key}.onnx")
            return FrozenNetwork(graph, int(about["width"]), (int(about["height"]), int(about["wide"])))
    load_keras()
    network = KerasNetwork(classifier.pooled_features(backbones.build(recipe.model, size, upscale=upscale)))
    graph, width, (height, wide) = network.features_graph(), network.width, network.size
    about = {"sha256": hashlib.sha256(graph).hexdigest(), "width": width, "height": height, "wide": wide}
    with contextlib.suppress(DiskError):  # it is only built again the next time
        write_bytes(folder / f"{key}.onnx", graph)
        write_text(folder / f"{key}.json", json.dumps(about))
    return FrozenNetwork(graph, width, (height, wide))


def _key_of_graph(network: str) -> str:
    """Return a key of all that the graph depends on: its weights and our code."""
    made_by = Path(backbones.__file__).parent
    files = [published_file("efficientnet-lite0"), *sorted(made_by.glob("*.py"))]
    try:
        keras = metadata.version("keras")
    except metadata.PackageNotFoundError:
        raise MissingExtraError("Training", "train", "keras") from None
    parts = [network.encode(), keras.encode(), *(path.read_bytes() for path in files)]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]
