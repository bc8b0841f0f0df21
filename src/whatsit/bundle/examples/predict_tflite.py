"""Classify a picture by LiteRT.

Usage: python predict_tflite.py model.tflite picture.jpg
"""

import sys

from ai_edge_litert.interpreter import Interpreter
from read_picture import read, say

model = Interpreter(sys.argv[1])
model.allocate_tensors()
model.set_tensor(model.get_input_details()[0]["index"], read(sys.argv[2]))
model.invoke()
[probabilities] = model.get_tensor(model.get_output_details()[0]["index"])
say(probabilities)
