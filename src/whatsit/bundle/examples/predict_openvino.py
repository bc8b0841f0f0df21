"""python predict_openvino.py openvino/model.xml picture.jpg: what is in the picture, by OpenVINO and Pillow alone."""

import json
import pathlib
import sys

import numpy as np
import openvino
from PIL import Image, ImageOps

here = pathlib.Path(__file__).parent
size = json.loads((here / "preprocess.json").read_text())["size"]
picture = Image.open(sys.argv[2])
picture.draft(None, size)  # a large JPEG is decoded smaller
picture = ImageOps.exif_transpose(picture.convert("RGB").resize(size, Image.Resampling.BILINEAR))
model = openvino.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
probabilities = model(np.asarray(picture)[None])["probabilities"][0].copy()
labels = (here / "labels.txt").read_text(encoding="utf-8").splitlines()
print(f"{labels[probabilities.argmax()]} {probabilities.max():.4f}")
