"""The service: REST over the same `Predictor` as everything else. Needs `whatsit[serve]`, and no TensorFlow."""
