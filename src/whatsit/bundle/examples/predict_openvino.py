"""Classify a picture by OpenVINO.

Usage: python predict_openvino.py openvino/model.xml picture.jpg
"""

import sys

import openvino
from read_picture import read, say

model = openvino.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
[probabilities] = model(read(sys.argv[2]))["probabilities"].copy()  # OpenVINO would write into it again
say(probabilities)
