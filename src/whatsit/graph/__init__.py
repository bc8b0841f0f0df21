"""ONNX graphs: from Keras and to Keras, merged, checked, quantized, converted."""
