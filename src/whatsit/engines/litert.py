"""Run `.tflite` files, also in C headers, by LiteRT (formerly TensorFlow Lite)."""

from __future__ import annotations

import re
import threading
from typing import Any

import numpy as np

from whatsit.engines.base import OUTPUT, Images, Probabilities, raising_engine_errors
from whatsit.process import silent_descriptor


class LiteRT:
    """A `.tflite` file from uint8 `[N, height, width, 3]` to float32 `[N, K]`.

    One that is int8 throughout, as microcontrollers have it, takes one image at a time, and its whole numbers are converted.
    """

    def __init__(self, content: bytes, *, reference: bool = False, output: str = OUTPUT) -> None:
        """Open a file by its contents.

        `output` is the output to return, by its name in the file's signature; of a file with one output that.
        With `reference` it is run by the reference kernels, slow ones that round as those of microcontrollers do.
        Raises `EngineError` where LiteRT refuses the file.
        """
        with raising_engine_errors("LiteRT refuses the file"):
            self._interpreter = _interpreter(content, reference=reference)
        self._input = self._interpreter.get_input_details()[0]
        outputs = self._interpreter.get_output_details()
        if len(outputs) > 1:
            outputs = [self._interpreter.get_signature_runner().get_output_details()[output]]
        self._output = outputs[0]
        self._batch = int(self._input["shape"][0])
        self._single = int(self._input["shape_signature"][0]) == 1
        self._lock = threading.Lock()

    def run(self, images: Images) -> Probabilities:
        """Return the probabilities of any number of images. Thread-safe."""
        with self._lock:
            if self._single:
                return np.concatenate([self._run(image[None]) for image in images])
            if len(images) != self._batch:
                self._interpreter.resize_tensor_input(self._input["index"], images.shape)
                self._interpreter.allocate_tensors()
                self._batch = len(images)
            return self._run(images)

    def _run(self, images: Images) -> Probabilities:
        if self._input["dtype"] == np.int8:
            images = (images ^ np.uint8(128)).view(np.int8)  # 128 less
        self._interpreter.set_tensor(self._input["index"], images)
        self._interpreter.invoke()
        probabilities: Probabilities = self._interpreter.get_tensor(self._output["index"])
        if probabilities.dtype == np.float32:
            return probabilities
        step, zero = self._output["quantization"]
        return np.float32(step) * (probabilities.astype(np.float32) - np.float32(zero))


def model_in_header(text: str) -> bytes:
    """Return the `.tflite` file that a C header of whatsit holds.

    Raises `ValueError` where it holds no such.
    """
    found = re.search(r"whatsit_model\[(\d+)\] = \{([0-9a-fx,\s]*)\};", text)
    content = bytes.fromhex("".join(re.findall(r"0x([0-9a-f]{2})", found.group(2)))) if found else b""
    if not found or len(content) != int(found.group(1)):
        raise ValueError("this is no C header with a model")
    return content


def input_step(content: bytes) -> tuple[float, int]:
    """Return step and zero of a quantized input: v stands for `step * (v - zero)`."""
    step, zero = _interpreter(content).get_input_details()[0]["quantization"]
    return float(step), int(zero)


def _interpreter(content: bytes, *, reference: bool = False) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    with silent_descriptor(2):  # it prints the name of its delegate
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
    return interpreter
