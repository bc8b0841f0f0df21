"""python predict_tflite.py model.tflite picture.jpg: what is in the picture, by LiteRT and Pillow alone."""

import json
import pathlib
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps

here = pathlib.Path(__file__).parent
size = json.loads((here / "preprocess.json").read_text())["size"]
picture = Image.open(sys.argv[2])
picture.draft(None, size)  # a large JPEG is decoded smaller
picture = ImageOps.exif_transpose(picture.convert("RGB").resize(size, Image.Resampling.BILINEAR))
model = Interpreter(sys.argv[1])
model.allocate_tensors()
model.set_tensor(model.get_input_details()[0]["index"], np.asarray(picture)[None])
model.invoke()
[probabilities] = model.get_tensor(model.get_output_details()[0]["index"])
labels = (here / "labels.txt").read_text(encoding="utf-8").splitlines()
print(f"{labels[probabilities.argmax()]} {probabilities.max():.4f}")
