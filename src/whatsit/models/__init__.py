"""Networks: pretrained backbones, networks from scratch, the head."""
