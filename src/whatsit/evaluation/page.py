"""HTML pages in one file: pictures and font inside, all texts escaped."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from whatsit.errors import ImageError
from whatsit.images.decode import Pixels, decode_within
from whatsit.images.names import plain
from whatsit.images.scan import Dataset
from whatsit.runtime.overlay import FONT
from whatsit.runtime.wording import duration, percent

ENLARGED = 120  # pixels; smaller pictures are shown in their own pixels, not blurred by the browser


def render_page(template: Path, /, **values: Any) -> str:
    """Fill a Jinja template. Every text is escaped and made printable."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters.update(_FILTERS)
    return environment.get_template(template.name).render(font=base64_of(FONT.read_bytes()), **values)


def jpeg_of(pixels: Pixels) -> bytes:
    """Encode a picture as a JPEG file, enlarged where it is tiny."""
    image = Image.fromarray(pixels)
    if max(image.size) < ENLARGED:
        scale = ENLARGED // max(image.size) + 1
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def picture_of(dataset: Dataset, name: str, side: int) -> str:
    """Return a small JPEG in base64; empty where the picture cannot be read."""
    try:
        return base64_of(jpeg_of(decode_within(dataset.store.read(name), side)))
    except ImageError:
        return ""


def base64_of(data: bytes) -> str:
    """Encode a file for a `data:` address."""
    return base64.b64encode(data).decode()


def _printable(value: object) -> object:
    return plain(value) if type(value) is str else value


def _unbroken(text: str) -> str:
    return text.replace(" ", "\u00a0")


_FILTERS: dict[str, Callable[..., Any]] = {
    "percent": lambda share, digits=1: _unbroken(percent(share, digits)),
    "milliseconds": lambda seconds: _unbroken(duration(seconds)),
    "unbroken": lambda sentence: sentence.replace(" %", "\u00a0%"),
    "thousands": lambda number: f"{number:,}",
    "decimals": lambda number: "" if number is None else f"{number:.3f}",
    "tojson_plain": lambda value: json.dumps(value, ensure_ascii=False),
}
