"""Classify a picture by Core ML, on a Mac.

Usage: python predict_coreml.py model.mlpackage picture.jpg
"""

import sys

import coremltools
import numpy as np
from PIL import Image
from read_picture import LABELS, read, say

model = coremltools.models.MLModel(sys.argv[1])
found = model.predict({"image": Image.fromarray(read(sys.argv[2])[0])})["classLabel_probs"]
say(np.array([found[label] for label in LABELS]))
