"""Classify a picture by Keras.

Usage: python predict_keras.py best_model.keras picture.jpg
"""

import sys

import keras
import numpy as np
from read_picture import read, say

model = keras.models.load_model(sys.argv[1])
found = model(read(sys.argv[2]))
[probabilities] = np.asarray(found["probabilities"] if isinstance(found, dict) else found)
say(probabilities)
