"""Run `.tflite` files by LiteRT (formerly TensorFlow Lite)."""

from __future__ import annotations

import threading
from typing import Any

from whatsit.engines.base import Images, Probabilities, raising_engine_errors
from whatsit.process import silent_descriptor


class LiteRT:
    """A `.tflite` file from uint8 `[N, height, width, 3]` to float32 `[N, K]`."""

    def __init__(self, content: bytes) -> None:
        """Open a file by its contents. Raises `EngineError` where LiteRT refuses it."""
        with raising_engine_errors("LiteRT refuses the file"):
            self._interpreter = _interpreter(content)
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._batch = int(self._input["shape"][0])
        self._lock = threading.Lock()

    def run(self, images: Images) -> Probabilities:
        """Return the probabilities of any number of images. Thread-safe."""
        with self._lock:
            if len(images) != self._batch:
                self._interpreter.resize_tensor_input(self._input["index"], images.shape)
                self._interpreter.allocate_tensors()
                self._batch = len(images)
            self._interpreter.set_tensor(self._input["index"], images)
            self._interpreter.invoke()
            probabilities: Probabilities = self._interpreter.get_tensor(self._output)
            return probabilities


def input_step(content: bytes) -> tuple[float, int]:
    """Return step and zero of a quantized input: v stands for `step * (v - zero)`."""
    step, zero = _interpreter(content).get_input_details()[0]["quantization"]
    return float(step), int(zero)


def _interpreter(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    with silent_descriptor(2):  # it prints the name of its delegate
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
    return interpreter
