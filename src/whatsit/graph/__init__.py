"""ONNX graphs: made of Keras models and turned back, merged, checked, and converted to other formats."""
