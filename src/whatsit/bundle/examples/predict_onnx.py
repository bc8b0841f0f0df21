"""Classify a picture by ONNX Runtime.

Usage: python predict_onnx.py model.onnx picture.jpg
"""

import sys

import onnxruntime
from read_picture import read, say

model = onnxruntime.InferenceSession(sys.argv[1])
[[probabilities]] = model.run(["probabilities"], {"image": read(sys.argv[2])})
say(probabilities)
