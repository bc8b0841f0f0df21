"""python predict_keras.py best_model.keras picture.jpg: what is in the picture, by Keras and Pillow alone."""

import json
import pathlib
import sys

import keras
import numpy as np
from PIL import Image, ImageOps

here = pathlib.Path(__file__).parent
size = json.loads((here / "preprocess.json").read_text())["size"]
picture = Image.open(sys.argv[2])
picture.draft(None, size)  # a large JPEG is decoded smaller
picture = ImageOps.exif_transpose(picture.convert("RGB").resize(size, Image.Resampling.BILINEAR))
model = keras.models.load_model(sys.argv[1])
probabilities = np.asarray(model(np.asarray(picture)[None]))[0]
labels = (here / "labels.txt").read_text(encoding="utf-8").splitlines()
print(f"{labels[probabilities.argmax()]} {probabilities.max():.4f}")
