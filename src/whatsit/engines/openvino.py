"""The OpenVINO engine: the fastest on x86 processors, in float32 unless told otherwise."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.engines import EngineError, Images, Outputs, running
from whatsit.engines.onnxruntime import ONNXRuntimeEngine
from whatsit.process import keep_after_fork

# Without it OpenVINO is as it was, but for telling Google Analytics that it was imported and leaving an identity in the
# user's home. What whatsit does is nobody else's business, and it is to work without a network.
_absent = "openvino_telemetry" not in sys.modules
if _absent:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
try:
    import openvino
finally:
    if _absent:
        del sys.modules["openvino_telemetry"]

_PRECISION = {"float32": "f32", "bfloat16": "bf16"}


@functools.cache
def _core() -> openvino.Core:
    """The only one of the process, never freed: its processor plugin lends the main thread a stack for signals, and takes it
    away when a core ends, after which the next signal kills the process."""
    _used_in.append(os.getpid())
    core = openvino.Core()
    keep_after_fork(core)
    return core


_used_in: list[int] = []  # the process that `_core` was made in


def _forked() -> bool:
    """Whether OpenVINO was used in the process that this one was forked from. Its threads are not here: work would never end."""
    return bool(_used_in) and _used_in[0] != os.getpid()


def has_bfloat16() -> bool:
    """Whether this processor computes in bfloat16 natively."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVINOEngine:
    """See `Engine`. A single batch is spread over all cores; in a stream every core works on a batch of its own.

    The graph is ONNX in memory, or a file of ONNX or OpenVINO's own format. In a process that was forked from one that used
    OpenVINO, ONNX Runtime runs the graph in float32 instead, or `EngineError` is raised where it is a file.
    """

    runtime = "openvino"

    def __init__(self, graph: bytes | Path, outputs: tuple[str, ...], precision: str, threads: int | None) -> None:
        self.outputs = outputs
        self._graph, self._threads = graph, threads
        self._replacement: ONNXRuntimeEngine | None = None
        if _forked():
            self._in_fork()
            return
        self._core = _core()
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
        keep_after_fork(self._latency)
        self._throughput: Any = None
        self._lock = threading.Lock()
        self._idle: list[Any] = []  # requests that no thread uses now; making one costs ten times what a small run does

    def _compile(self, hint: str) -> Any:
        return self._core.compile_model(self._model, "CPU", {**self._settings, "PERFORMANCE_HINT": hint})

    def _in_fork(self) -> ONNXRuntimeEngine:
        """What runs the graph in a forked process."""
        if self._replacement is None:
            if isinstance(self._graph, Path):
                raise EngineError(
                    f"{self._graph}: OpenVINO was used before this process was forked, and cannot run in it; open the file in a "
                    "process of its own (multiprocessing: the start method 'spawn')"
                )
            self._replacement = ONNXRuntimeEngine(self._graph, self.outputs, self._threads)
        return self._replacement

    def run(self, images: Images) -> Outputs:
        if _forked():
            return self._in_fork().run(images)
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._latency.create_infer_request()
            keep_after_fork(request)
        images = _shareable(images)
        with running("OpenVINO"):
            request.set_input_tensor(openvino.Tensor(images, shared_memory=True))
            request.infer()
        results = self._results(request)
        self._idle.append(request)
        return results

    def stream(self, batches: Iterable[Images]) -> Iterator[Outputs]:
        if _forked():
            yield from self._in_fork().stream(batches)
            return
        with self._lock:
            if self._throughput is None:
                self._throughput = self._compile("THROUGHPUT")
                keep_after_fork(self._throughput)
        jobs = self._throughput.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        # One request more than work at once, so that no core waits while a result is collected.
        idle = deque(self._throughput.create_infer_request() for _ in range(jobs + 1))
        for request in idle:
            keep_after_fork(request)
        busy: deque[tuple[Any, Any]] = deque()  # with its input, which must live as long as the work on it
        try:
            for images in batches:
                if not idle:
                    yield self._finished(busy[0][0])
                    idle.append(busy.popleft()[0])
                request = idle.popleft()
                tensor = openvino.Tensor(_shareable(images), shared_memory=True)
                with running("OpenVINO"):
                    request.set_input_tensor(tensor)
                    request.start_async()
                busy.append((request, tensor))
            while busy:
                yield self._finished(busy[0][0])
                busy.popleft()
        finally:
            for request, _ in busy:  # of a stream that was left, or failed
                with contextlib.suppress(Exception):
                    request.wait()

    def _finished(self, request: Any) -> Outputs:
        with running("OpenVINO"):
            request.wait()
        return self._results(request)

    def _results(self, request: Any) -> Outputs:
        # Copies: the request's own memory is written over by its next run.
        return [np.array(request.get_output_tensor(i).data) for i in range(len(self.outputs))]


def _shareable(images: Images) -> Images:
    """As OpenVINO shares an array's memory: contiguous and, though it only reads it, writable."""
    return np.require(images, requirements=["C", "W"])
