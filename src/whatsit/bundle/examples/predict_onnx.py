"""python predict_onnx.py model.onnx picture.jpg: what is in the picture, by ONNX Runtime."""

import sys

import onnxruntime
from read_picture import read, say

model = onnxruntime.InferenceSession(sys.argv[1])
[[probabilities]] = model.run(None, {"image": read(sys.argv[2])})
say(probabilities)
