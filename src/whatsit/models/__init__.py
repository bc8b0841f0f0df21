"""Networks: the classic small one, pretrained backbones, the head, and their way into ONNX."""
