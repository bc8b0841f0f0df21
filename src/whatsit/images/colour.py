"""Colour profiles: from the colours of a camera, a screen or a press to sRGB."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

_SPACES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_MAX_PROFILE = 1 << 22  # bytes; that of a press has one or two million
_LEAST = 2  # of 255


def transform_of(profile: object, mode: str) -> ImageCmsTransform | None:
    """Return the transform of an image's colours from its profile to sRGB.

    For RGB, L or CMYK, relative colorimetric with black point compensation, by LittleCMS. None where the profile is
    damaged, is for images of another mode, or changes no colour by more than 2 of 255: such a profile is sRGB by another name.
    """
    if not isinstance(profile, bytes) or not 128 < len(profile) <= _MAX_PROFILE:
        return None
    if profile[36:40] != b"acsp" or _SPACES.get(profile[16:20]) != mode:
        return None
    return _transform(profile, mode)


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCmsTransform | None:
    from PIL import ImageCms

    try:
        transform = ImageCms.buildTransform(
            ImageCms.getOpenProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOCACHE,  # with a cache, threads could not share it
        )
        return transform if mode == "CMYK" or _moves_colours(transform, mode) else None
    except Exception:  # a damaged profile can raise anything at all in a parser
        return None


def _moves_colours(transform: ImageCmsTransform, mode: str) -> bool:
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3)
    if mode == "L":
        colours = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    image = Image.fromarray(colours)
    moved = np.asarray(transform.apply(image.getchannel(0) if mode == "L" else image)).astype(int)
    return bool(np.abs(moved - colours).max() > _LEAST)
