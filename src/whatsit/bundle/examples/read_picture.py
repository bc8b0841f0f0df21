"""How whatsit reads a picture, with Pillow and NumPy alone (the rule is in preprocess.json)."""

import json
import pathlib

import numpy as np
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
LABELS = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()
WIDTH, HEIGHT = json.loads((HERE / "preprocess.json").read_text(encoding="utf-8"))["size"]
TURNED = (5, 6, 7, 8)  # EXIF orientations of pictures that lie on their side


def read(path):
    """A picture as the model takes it: uint8, one picture of HEIGHT x WIDTH pixels, RGB."""
    picture = Image.open(path)
    exif = picture.getexif()
    size = (HEIGHT, WIDTH) if exif.get(0x0112) in TURNED else (WIDTH, HEIGHT)
    if picture.format == "JPEG" and picture.mode in ("RGB", "L"):
        picture.draft(None, size)  # a large one is decoded smaller
    if picture.mode.startswith("I"):  # 16 bits
        picture = Image.fromarray(np.rint(np.asarray(picture, np.float64) * (255 / 65535)).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    picture.getexif().update(exif)
    return np.asarray(ImageOps.exif_transpose(picture))[None]


def say(probabilities):
    """Print the most probable class and its probability."""
    best = int(np.argmax(probabilities))
    print(f"{LABELS[best]} {probabilities[best]:.4f}")
