"""python predict_onnx.py model.onnx picture.jpg: what is in the picture, by ONNX Runtime and Pillow alone."""

import json
import pathlib
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

here = pathlib.Path(__file__).parent
size = json.loads((here / "preprocess.json").read_text())["size"]
picture = Image.open(sys.argv[2])
picture.draft(None, size)  # a large JPEG is decoded smaller
picture = ImageOps.exif_transpose(picture.convert("RGB").resize(size, Image.Resampling.BILINEAR))
model = onnxruntime.InferenceSession(sys.argv[1])
[[probabilities]] = model.run(None, {"image": np.asarray(picture)[None]})
labels = (here / "labels.txt").read_text(encoding="utf-8").splitlines()
print(f"{labels[probabilities.argmax()]} {probabilities.max():.4f}")
