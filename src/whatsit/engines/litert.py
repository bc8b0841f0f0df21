"""LiteRT (formerly TensorFlow Lite): runs `.tflite` files."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.engines import EngineError, Images
from whatsit.process import silent_descriptor


class LiteRT:
    """A `.tflite` file with one input, uint8 `[N, height, width, 3]`, and one output, float32."""

    def __init__(self, content: bytes) -> None:
        """Raises `EngineError` where LiteRT refuses the file."""
        try:
            self._interpreter = _interpreter(content)
        except ValueError as error:
            raise EngineError(f"LiteRT refuses the file: {str(error)[:200]}") from None
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._batch = int(self._input["shape"][0])
        self._lock = threading.Lock()

    def run(self, images: Images) -> npt.NDArray[np.float32]:
        """Probabilities float32 `[N, K]` for any N; the array belongs to the caller. Thread-safe."""
        with self._lock:
            if len(images) != self._batch:
                self._interpreter.resize_tensor_input(self._input["index"], images.shape)
                self._interpreter.allocate_tensors()
                self._batch = len(images)
            self._interpreter.set_tensor(self._input["index"], images)
            self._interpreter.invoke()
            found: npt.NDArray[np.float32] = self._interpreter.get_tensor(self._output)
            return found


def input_step(content: bytes) -> tuple[float, int]:
    """The step and the zero of a quantized input: a value v stands for `step * (v - zero)`."""
    step, zero = _interpreter(content).get_input_details()[0]["quantization"]
    return float(step), int(zero)


def _interpreter(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    with silent_descriptor(2):  # it tells of its delegate
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
    return interpreter
