"""Open the network that a recipe names: a known one, or one in an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from whatsit.models import backbones, classifier
from whatsit.models.network import KerasNetwork, Network
from whatsit.models.onnx_about import is_onnx
from whatsit.models.onnx_network import open_networks


@dataclass(frozen=True)
class Opened:
    """A network up to each depth, the deepest last."""

    networks: Mapping[str, Network]
    note: str = ""  # what to say about it


def open_backbone(model: str, weights: str, size: int, upscale: int, depths: Sequence[str]) -> Opened:
    """Open a network up to each of the depths that it has.

    Args:
        model: the name of a backbone, or the path of an ONNX file.
        weights: of a named one: `auto`, `none` or a path.
        size: the side in pixels at which the network works.
        upscale: images are smaller by this factor and enlarged inside the graph.
        depths: `last`, `all`, or both.

    Raises:
        ModelError: weights or file are missing, refused, or do not fit.
    """
    if is_onnx(model):
        networks = open_networks(Path(model), size, upscale, depths)
        return Opened(networks, list(networks.values())[-1].summary)
    backbone = backbones.build(model, size, upscale=upscale, weights=weights)
    return Opened({depth: KerasNetwork(classifier.pooled_features(backbone, depth)) for depth in depths})


def stamp_of(model: str, weights: str) -> tuple[int, ...]:
    """Return numbers that change where a file that a network is made of changes."""
    path = Path(model)
    beside = [path.parent / name for name in (f"{path.stem}.toml", "preprocessor_config.json", "config.json")]
    files = [path, *beside] if is_onnx(model) else [Path(weights)]
    return tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in files)
