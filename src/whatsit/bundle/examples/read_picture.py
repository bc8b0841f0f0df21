"""How whatsit reads a picture, with Pillow and NumPy alone (the rule is in preprocess.json)."""

import json
import pathlib
import sys

import numpy as np
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
LABELS = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()
WIDTH, HEIGHT = json.loads((HERE / "preprocess.json").read_text(encoding="utf-8"))["size"]
TURNED = (5, 6, 7, 8)  # EXIF orientations of pictures that lie on their side


def read(path):
    """A picture as the model takes it: uint8, one picture of HEIGHT x WIDTH pixels, RGB."""
    picture = Image.open(path)
    if picture.format == "TIFF":
        picture.load()  # which turns it
    exif = picture.getexif()
    size = (HEIGHT, WIDTH) if exif.get(0x0112) in TURNED else (WIDTH, HEIGHT)
    if picture.format == "JPEG" and picture.mode in ("RGB", "L"):
        picture.draft(None, size)  # a large one is decoded smaller
    if picture.mode.startswith("I") or picture.mode == "F":  # 16 or 32 bits
        picture = eight_bits(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    picture.getexif().update(exif)
    return np.asarray(ImageOps.exif_transpose(picture))[None]


def eight_bits(picture):
    """16-bit grey: 65535 is white. Other deep samples (32-bit, float): 0..255 where they fit, else their own maximum."""
    deep = np.nan_to_num(np.asarray(picture)).astype(np.float64)
    of_16 = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG")
    white = 65535.0 if of_16 else max(255.0, float(deep.max()))
    return Image.fromarray(np.clip(np.rint(deep * (255.0 / white)), 0, 255).astype(np.uint8))


def say(probabilities):
    """Print the most probable class and its probability."""
    if hasattr(
        sys.stdout, "reconfigure"
    ):  # a terminal or file that cannot show the label's letters gets \u0e01 and the like
        sys.stdout.reconfigure(errors="backslashreplace")
    best = int(np.argmax(probabilities))
    print(f"{LABELS[best]} {probabilities[best]:.4f}")
