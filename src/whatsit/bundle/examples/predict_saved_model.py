"""python predict_saved_model.py saved_model picture.jpg: what is in the picture, by TensorFlow and Pillow alone."""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

here = pathlib.Path(__file__).parent
size = json.loads((here / "preprocess.json").read_text())["size"]
picture = Image.open(sys.argv[2])
picture.draft(None, size)  # a large JPEG is decoded smaller
picture = ImageOps.exif_transpose(picture.convert("RGB").resize(size, Image.Resampling.BILINEAR))
model = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
probabilities = model(image=tf.constant(np.asarray(picture)[None]))["probabilities"].numpy()[0]
labels = (here / "labels.txt").read_text(encoding="utf-8").splitlines()
print(f"{labels[probabilities.argmax()]} {probabilities.max():.4f}")
