"""Gradio's fields for pictures, made safe: only uploads are opened."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

MAX_FRAME = 70_000_000  # characters of a data: URL


def picture_field(**options: Any) -> Any:
    """Return Gradio's picture field, which hands over the bytes of an upload.

    Only `decode` may read them. Gradio itself would decode and write the picture again, open any file of this computer
    whose name comes without `meta`, and fetch URLs. (Not a class: Gradio writes a `.pyi` file beside every class that is
    made of a field.)
    """
    field: Any = gr.Image(**options)
    field.preprocess = partial(_uploaded, Path(field.GRADIO_CACHE))
    return without_urls(field)


def _uploaded(folder: Path, payload: Any) -> bytes | None:
    if payload is None:
        return None
    if payload.url and payload.url.startswith("data:"):  # a frame of the webcam
        if len(payload.url) > MAX_FRAME:
            raise refused("This frame is too large.")
        try:
            return base64.b64decode(payload.url.split(",", 1)[1], validate=True)
        except (IndexError, ValueError):
            return b""
    if not payload.path:
        return None
    path = Path(payload.path).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise refused("This is no uploaded file; bring it again.")
    return path.read_bytes()


def without_urls(field: Any) -> Any:
    """Make a field refuse URLs, which Gradio would fetch."""
    move = field.async_move_resource_to_block_cache

    async def move_local(source: Any) -> Any:
        if isinstance(source, str) and "://" in source:
            raise refused("Pictures are not fetched from addresses; upload the file.")
        return await move(source)

    field.async_move_resource_to_block_cache = move_local
    return field


def refused(message: str) -> gr.Error:
    """Return an error that the visitor is shown and the log is not."""
    return gr.Error(message, print_exception=False)


def as_uploads(files: Sequence[Path]) -> Iterator[bytes]:
    """Yield what the picture field hands over when these files are uploaded."""
    with tempfile.TemporaryDirectory(prefix="whatsit-") as folder:
        for file in files:
            cached = gr.processing_utils.save_file_to_cache(file, cache_dir=folder)
            yield _uploaded(Path(folder), gr.data_classes.ImageData(path=cached)) or b""
