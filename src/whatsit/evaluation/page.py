"""Pages that need nothing else: every picture and font is in them, and every name of the user's is harmless."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from whatsit.evaluation.wording import duration, percent, plain
from whatsit.images.decode import Pixels


def render_page(template: Path, /, **values: Any) -> str:
    """A Jinja template with these values. Every text among them is escaped, whatever it looks like."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_harmless
    )
    environment.filters.update(_FILTERS)
    return environment.from_string(template.read_text(encoding="utf-8")).render(**values)


def jpeg_of(pixels: Pixels) -> bytes:
    """A picture as a JPEG file, a tiny one enlarged."""
    image = Image.fromarray(pixels)
    if max(image.size) < 120:  # a tiny picture is to be shown in its own pixels, not blurred by the browser
        scale = 120 // max(image.size) + 1
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def base64_of(data: bytes) -> str:
    """For a `data:` address."""
    return base64.b64encode(data).decode()


def _harmless(value: object) -> object:
    return plain(value) if type(value) is str else value


def _unbroken(figure: str) -> str:
    return figure.replace(" ", "\u00a0")


_FILTERS: dict[str, Callable[..., Any]] = {
    "percent": lambda share, digits=1: _unbroken(percent(share, digits)),
    "milliseconds": lambda seconds: _unbroken(duration(seconds)),
    "unbroken": lambda sentence: sentence.replace(" %", "\u00a0%"),
    "thousands": lambda number: f"{number:,}",
    "decimals": lambda number: "" if number is None else f"{number:.3f}",
    "tojson_plain": lambda value: json.dumps(value, ensure_ascii=False),
}
