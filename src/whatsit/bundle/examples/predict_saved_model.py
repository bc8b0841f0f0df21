"""Classify a picture by TensorFlow.

Usage: python predict_saved_model.py saved_model picture.jpg
"""

import sys

import tensorflow as tf
from read_picture import read, say

model = tf.saved_model.load(sys.argv[1])
[probabilities] = model.serve(tf.constant(read(sys.argv[2])))["probabilities"].numpy()
say(probabilities)
