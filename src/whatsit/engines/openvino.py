"""The OpenVINO engine: the fastest on x86 processors, in float32 unless told otherwise."""

from __future__ import annotations

import functools
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.engines import EngineError, Images, Outputs

# Without it OpenVINO is as it was, but for telling Google Analytics that it was imported and leaving an identity in the
# user's home. What whatsit does is nobody else's business, and it is to work without a network.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

_PRECISION = {"float32": "f32", "bfloat16": "bf16"}


@functools.cache
def _core() -> openvino.Core:
    """The only one of the process, never freed: its processor plugin lends the main thread a stack for signals, and takes it
    away when a core ends, after which the next signal kills the process."""
    return openvino.Core()


def has_bfloat16() -> bool:
    """Whether this processor computes in bfloat16 natively."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVINOEngine:
    """See `Engine`. A single batch is spread over all cores; in a stream every core works on a batch of its own.

    The graph is ONNX in memory, or a file of ONNX or OpenVINO's own format.
    """

    runtime = "openvino"

    def __init__(self, graph: bytes | Path, outputs: tuple[str, ...], precision: str, threads: int | None) -> None:
        self._core = _core()
        self.outputs = outputs
        self._settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _PRECISION[precision]}
        if threads:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        try:
            whole = self._core.read_model(graph)
            wanted = [whole.output(name) for name in outputs]
            self._model = openvino.Model(wanted, whole.get_parameters(), "whatsit")
            self._latency = self._compile("LATENCY")
        except Exception as error:  # OpenVINO raises RuntimeError and ValueError alike
            raise EngineError(f"OpenVINO refuses the graph: {str(error).strip().splitlines()[-1][:200]}") from None
        self._throughput: Any = None
        self._lock = threading.Lock()
        self._idle: list[Any] = []  # requests that no thread uses now; making one costs ten times what a small run does

    def _compile(self, hint: str) -> Any:
        return self._core.compile_model(self._model, "CPU", {**self._settings, "PERFORMANCE_HINT": hint})

    def run(self, images: Images) -> Outputs:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._latency.create_infer_request()
        images = _shareable(images)
        request.set_input_tensor(openvino.Tensor(images, shared_memory=True))
        request.infer()
        results = self._results(request)
        self._idle.append(request)
        return results

    def stream(self, batches: Iterable[Images]) -> Iterator[Outputs]:
        with self._lock:
            if self._throughput is None:
                self._throughput = self._compile("THROUGHPUT")
        jobs = self._throughput.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        # One request more than work at once, so that no core waits while a result is collected.
        idle = deque(self._throughput.create_infer_request() for _ in range(jobs + 1))
        busy: deque[tuple[Any, Any]] = deque()  # with its input, which must live as long as the work on it
        for images in batches:
            if not idle:
                request, _ = busy.popleft()
                request.wait()
                yield self._results(request)
                idle.append(request)
            request = idle.popleft()
            tensor = openvino.Tensor(_shareable(images), shared_memory=True)
            request.set_input_tensor(tensor)
            request.start_async()
            busy.append((request, tensor))
        for request, _ in busy:
            request.wait()
            yield self._results(request)

    def _results(self, request: Any) -> Outputs:
        # Copies: the request's own memory is written over by its next run.
        return [np.array(request.get_output_tensor(i).data) for i in range(len(self.outputs))]


def _shareable(images: Images) -> Images:
    """As OpenVINO shares an array's memory: contiguous and, though it only reads it, writable."""
    return np.require(images, requirements=["C", "W"])
