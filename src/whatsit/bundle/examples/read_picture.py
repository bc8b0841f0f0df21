"""Read a picture by the rule in preprocess.json, with Pillow and NumPy alone."""

import io
import json
import pathlib
import sys

import numpy as np
from PIL import Image, ImageCms, ImageOps

HERE = pathlib.Path(__file__).parent
LABELS = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()
RULE = json.loads((HERE / "preprocess.json").read_text(encoding="utf-8"))
WIDTH, HEIGHT = RULE["size"]
NEW = RULE["resize"].endswith("-srgb")  # colour profiles count, and grey of 12 bits in 16 and of 0.0 to 1.0 is known
WHOLE = "bilinear15" in RULE["resize"]  # the filter has weights of 15 bits
TURNED = (5, 6, 7, 8)  # EXIF orientations of pictures that lie on their side


def read(path):
    """Return a picture as the model takes it: uint8 RGB, `[1, HEIGHT, WIDTH, 3]`."""
    picture = Image.open(path)
    if picture.format == "TIFF":
        picture.load()  # which turns it
    exif = picture.getexif()
    size = (HEIGHT, WIDTH) if exif.get(0x0112) in TURNED else (WIDTH, HEIGHT)
    if picture.format == "JPEG" and picture.mode in ("RGB", "L"):
        picture.draft(None, size)  # a large one is decoded smaller
    transform = to_srgb(picture) if NEW else None
    if picture.mode.startswith("I") or picture.mode == "F":  # 16 or 32 bits
        picture = eight_bits(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    if transform is None or picture.mode != "CMYK":
        picture = picture.convert("RGB")
    if picture.size != size:
        picture = stretch(picture, size) if WHOLE else picture.resize(size, Image.Resampling.BILINEAR)
    if transform:
        picture = transform.apply(picture.getchannel(0) if transform.input_mode == "L" else picture)
    picture.getexif().update(exif)
    return np.asarray(ImageOps.exif_transpose(picture))[None]


def stretch(picture, size):
    """Return a picture at another (width, height).

    First its height is changed, then its width, or the other way round where it becomes higher and narrower; between, it is
    rounded to 8 bits.
    """
    pixels = np.asarray(picture)
    order = (1, 0) if size[1] > picture.height and size[0] < picture.width else (0, 1)
    for axis in order:
        pixels = np.moveaxis(stretch_axis(np.moveaxis(pixels, axis, 0), size[1 - axis]), 0, axis)
    return Image.frombytes(picture.mode, size, np.ascontiguousarray(pixels).tobytes())


def stretch_axis(pixels, want):
    """Return pixels `[have, ...]` as `[want, ...]`.

    The filter is Pillow's BILINEAR with weights of 15 bits.
    """
    have = len(pixels)
    if have == want:
        return pixels
    scale = have / want
    reach, parts = max(scale, 1.0), []
    for place in range(want):
        centre = (place + 0.5) * scale
        start, end = max(0, int(np.floor(centre - reach))), min(have, int(np.ceil(centre + reach)))
        weights = np.maximum(0.0, 1.0 - np.abs(np.arange(start, end) - (centre - 0.5)) * (1.0 / reach))
        parts.append((start, end, weights / weights.sum()))
    most = max(weights.max() for _, _, weights in parts)
    bits = next((bits for bits in range(21) if np.floor(most * 2.0 ** (bits + 1) + 0.5) >= 2**15), 21)
    result = np.empty((want, *pixels.shape[1:]), np.uint8)
    for place, (start, end, weights) in enumerate(parts):  # whole numbers, though held as floats
        sums = np.tensordot(np.floor(weights * 2.0**bits + 0.5), pixels[start:end].astype(np.float64), 1)
        result[place] = np.clip(np.floor(sums / 2.0**bits + 0.5), 0, 255)
    return result


def eight_bits(picture):
    """Return a deeper picture in 8 bits.

    White is 65535 of 16-bit grey, or 4095 where all fits; of others 1 (floats) or 255 where all fits, else the maximum.
    """
    deep = np.nan_to_num(np.asarray(picture)).astype(np.float64)
    most, guess = float(deep.max()), NEW and deep.max() > 0
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG"):
        white = 4095.0 if guess and most <= 4095 and picture.format != "JPEG2000" else 65535.0
    else:
        white = 1.0 if guess and picture.mode == "F" and most <= 1 else max(255.0, most)
    return Image.fromarray(np.clip(np.rint(deep * (255.0 / white)), 0, 255).astype(np.uint8))


def to_srgb(picture):
    """Return the transform of the picture's colour profile to sRGB.

    None where it has no profile, or one that changes no colour by more than 2.
    """
    profile, mode = picture.info.get("icc_profile"), picture.mode.split(";")[0]
    mode = {"1": "L", "I": "L", "F": "L", "LA": "L", "CMYK": "CMYK", "YCbCr": "", "LAB": "", "HSV": ""}.get(mode, mode)
    mode = "RGB" if mode[0:1] in ("R", "P") else mode
    if not profile or {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}.get(profile[16:20], "none") != mode:
        return None
    intent, points = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(profile, srgb, mode, "RGB", intent, points | ImageCms.Flags.NOCACHE)
        levels = np.linspace(0, 255, 9).round().astype(np.uint8)
        colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3)
        if mode == "L":
            colours = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
        image = Image.fromarray(colours)
        moved = np.asarray(transform.apply(image.getchannel(0) if mode == "L" else image)) if mode != "CMYK" else 255
    except ImageCms.PyCMSError:
        return None
    return transform if np.abs(np.subtract(moved, colours, dtype=int)).max() > 2 else None


def say(probabilities):
    """Print the class to answer and its probability.

    That is the most probable one, or where mistakes have prices (`costs[truth][answer]`) the one of the least expected cost.
    """
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that cannot show the label's letters gets \u0e01 instead
        sys.stdout.reconfigure(errors="backslashreplace")
    costs = RULE.get("costs")
    best = int(np.argmax(probabilities) if costs is None else np.argmin(np.float64(probabilities) @ np.array(costs)))
    print(f"{LABELS[best]} {probabilities[best]:.4f}")
