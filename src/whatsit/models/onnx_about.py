"""The facts about an ONNX network that its graph does not say.

How pixels are scaled, which output is taken, how to pool. They are read from `NAME.toml` beside `NAME.onnx`, from a
`preprocessor_config.json` (Hugging Face) or from a `config.json` with a `pretrained_cfg` (timm) in the same folder, or in the
one above a folder `onnx`.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from whatsit.errors import ModelError, suggest

ENDING = ".onnx"
POOLS = ("auto", "mean", "class", "class+mean", "none")
LAYOUTS = ("auto", "nchw", "nhwc")
CHANNELS = ("rgb", "bgr")
# mean and standard deviation of pixels from 0 to 1
SCALINGS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0..1": ((0.0,), (1.0,)),
    "-1..1": ((0.5,), (0.5,)),
    "0..255": ((0.0,), (1 / 255,)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
MAX_TEXT = 1 << 20  # bytes
MAX_SIDE = 1024
MAX_OUTPUTS = 8


def is_onnx(model: str) -> bool:
    """Return whether a recipe's model is an ONNX file, not a name."""
    return model.lower().endswith(ENDING)


@dataclass(frozen=True)
class About:
    """What is said about a network; what nobody says is left at its default."""

    size: int = 0  # side of its input in pixels; 0: as the graph has it, or 224
    mean: tuple[float, ...] = ()  # of pixels from 0 to 1, one number or one a channel; empty: not said
    std: tuple[float, ...] = ()
    layout: str = "auto"
    channels: str = "rgb"
    output: tuple[str, ...] = ()  # names of values of the graph, the deepest last; empty: chosen
    pool: str = "auto"

    @property
    def says_scaling(self) -> bool:
        """Whether the scaling of pixels is said."""
        return bool(self.mean)

    def changed(self, values: Mapping[str, Any], where: str) -> About:
        """Return this with other values, each checked.

        Raises `ModelError`; `where` is named in it.
        """
        values = dict(values)
        if (scaling := values.pop("scaling", None)) is not None:
            if scaling not in SCALINGS:
                raise ModelError(f"{where}: unknown scaling '{scaling}'{suggest(str(scaling), SCALINGS)}")
            mean, std = SCALINGS[scaling]
            values = {"mean": list(mean), "std": list(std)} | values
        known = {field.name for field in fields(self)}
        if odd := sorted(values.keys() - known):
            raise ModelError(f"{where}: unknown key '{odd[0]}'{suggest(odd[0], [*known, 'scaling'])}")
        found = replace(self, **{name: _CHECKS[name](name, value, where) for name, value in values.items()})
        if len(found.mean) != len(found.std):
            raise ModelError(f"{where}: 'mean' and 'std' belong together, with as many numbers each")
        return found


def about_file(path: Path) -> About:
    """Return the settings in the files next to an ONNX file. Raises `ModelError`."""
    about = About()
    for folder in (path.parent.parent, path.parent) if path.parent.name == "onnx" else (path.parent,):
        for name, read in (("config.json", _timm), ("preprocessor_config.json", _hugging_face)):
            about = about.changed(read(_json(folder / name)), str(folder / name))
    own = path.with_suffix(".toml")
    return about.changed(_toml(own), str(own))


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: this file cannot be read: {error}") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path) or "{}")
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: this file cannot be read: {error}") from None
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    """Return what is in a file; nothing where there is none."""
    try:
        if not path.is_file():
            return ""
        if path.stat().st_size > MAX_TEXT:
            raise ModelError(f"{path}: {path.stat().st_size:,} bytes are too many; at most {MAX_TEXT:,} are read")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None


def _timm(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the configuration of a timm network says."""
    about = config.get("pretrained_cfg")
    if not isinstance(about, dict):
        return {}
    found = {name: about[name] for name in ("mean", "std") if name in about}
    if isinstance(about.get("input_size"), list) and len(about["input_size"]) == 3:
        found["size"] = about["input_size"][-1]
    return found


def _hugging_face(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the image processor of a Hugging Face network says."""
    found: dict[str, Any] = {}
    cropped = config.get("do_center_crop", "crop_size" in config)
    size = config.get("crop_size" if cropped and "crop_size" in config else "size")
    if isinstance(size, dict):
        size = size.get("height", size.get("shortest_edge"))
    if isinstance(size, int):
        found["size"] = size
    if not config:
        return {}
    factor = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0
    if not isinstance(factor, int | float) or not 0 < factor <= 1:
        factor = 1 / 255
    normalized = config.get("do_normalize", True) and "image_mean" in config and "image_std" in config
    mean, std = (config["image_mean"], config["image_std"]) if normalized else ([0.0], [1.0])
    if isinstance(mean, list) and isinstance(std, list):
        unit = 1 / (255 * factor)  # those of pixels from 0 to 1
        found |= {"mean": [unit * value for value in mean], "std": [unit * value for value in std]}
    return found


def _whole(name: str, value: Any, where: str) -> int:
    if type(value) is not int or not 8 <= value <= MAX_SIDE:
        raise ModelError(f"{where}: '{name}' must be a whole number from 8 to {MAX_SIDE}, received {str(value)[:50]!r}")
    return value


def _numbers(name: str, value: Any, where: str) -> tuple[float, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    if len(values) not in (1, 3) or not all(type(one) in (int, float) and math.isfinite(one) for one in values):
        raise ModelError(f"{where}: '{name}' must be one number or three, received {str(value)[:80]!r}")
    if name == "std" and min(values) <= 0:
        raise ModelError(f"{where}: 'std' must be above 0, received {str(value)[:80]!r}")
    return tuple(float(one) for one in values)


def _names(name: str, value: Any, where: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    texts = isinstance(values, list | tuple) and all(isinstance(one, str) and one for one in values)
    if not texts or not 0 < len(values) <= MAX_OUTPUTS:
        raise ModelError(f"{where}: '{name}' must be the name of a value, or a list of at most {MAX_OUTPUTS}")
    return tuple(values)


def _one_of(choices: tuple[str, ...]) -> Any:
    def check(name: str, value: Any, where: str) -> str:
        if value not in choices:
            raise ModelError(f"{where}: unknown {name} '{str(value)[:50]}'{suggest(str(value), choices)}")
        return str(value)

    return check


_CHECKS: Mapping[str, Any] = {
    "size": _whole,
    "mean": _numbers,
    "std": _numbers,
    "layout": _one_of(LAYOUTS),
    "channels": _one_of(CHANNELS),
    "output": _names,
    "pool": _one_of(POOLS),
}
