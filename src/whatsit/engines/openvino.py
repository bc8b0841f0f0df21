"""Run graphs by OpenVINO, the fastest engine on x86 processors."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.engines.base import EngineError, Images, Outputs, raising_engine_errors
from whatsit.engines.onnxruntime import ONNXRuntimeEngine
from whatsit.process import keep_after_fork

# Without it OpenVINO does the same, except that it does not report its import to Google Analytics and leaves no identity in the
# user's home.
_absent = "openvino_telemetry" not in sys.modules
if _absent:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
try:
    import openvino
finally:
    if _absent:
        del sys.modules["openvino_telemetry"]

_PRECISION = {"float32": "f32", "bfloat16": "bf16"}
_FAILED = "OpenVINO cannot run the graph"
FEW = 32  # images of a stream that are done sooner than the graph is compiled a second time, for streams


@functools.cache
def _core() -> openvino.Core:
    """Return the only one of the process, which is never freed.

    Its processor plugin lends the main thread a stack for signals and takes it away when a core ends: the next signal
    would kill the process.
    """
    _used_in.append(os.getpid())
    _limit_instructions()
    core = openvino.Core()
    keep_after_fork(core)
    return core


def _limit_instructions() -> None:
    """Limit the kernels of OpenVINO as ONEDNN_MAX_CPU_ISA limits its oneDNN.

    Otherwise it asks oneDNN for more than that gives, and the process dies at the first convolution.
    """
    if limit := os.environ.get("ONEDNN_MAX_CPU_ISA"):
        os.environ.setdefault("OV_CPU_MAX_ISA", limit)


_used_in: list[int] = []  # the process that `_core` was made in


def _forked() -> bool:
    """Return whether OpenVINO was used before this process was forked.

    Its threads are not here: work would never end.
    """
    return bool(_used_in) and _used_in[0] != os.getpid()


def has_bfloat16() -> bool:
    """Return whether this processor computes in bfloat16 natively."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVINOEngine:
    """An `Engine` of OpenVINO.

    A single batch is spread over all cores; in a stream of more than a few images every core works on a batch of its own. The
    graph is ONNX in memory, or a file of ONNX or OpenVINO's own format. In a process that was forked from one that used
    OpenVINO, ONNX Runtime runs the graph in float32 instead, or `EngineError` is raised where it is a file.
    """

    runtime = "openvino"

    def __init__(self, graph: bytes | Path, outputs: tuple[str, ...], precision: str, threads: int | None) -> None:
        """Compile a graph. Raises `EngineError` where it is refused or has no such output."""
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
            self._settings["ENABLE_CPU_PINNING"] = False  # else every process takes the same first processors
        with raising_engine_errors("OpenVINO refuses the graph"):
            whole = self._core.read_model(graph)
            wanted = [whole.output(name) for name in outputs]
            self._model = openvino.Model(wanted, whole.get_parameters(), "whatsit")
            self._latency = self._compile("LATENCY")
        keep_after_fork(self._latency)
        self._throughput: Any = None
        self._lock = threading.Lock()
        self._idle: list[Any] = []  # requests that no thread uses now; making one costs ten times what a small run does

    def _compile(self, hint: str) -> Any:
        return self._core.compile_model(self._model, "CPU", {**self._settings, "PERFORMANCE_HINT": hint})

    def _in_fork(self) -> ONNXRuntimeEngine:
        """Return the engine that runs the graph in a forked process."""
        if self._replacement is None:
            if isinstance(self._graph, Path):
                raise EngineError(
                    f"{self._graph}: OpenVINO was used before this process was forked, and cannot run in it; open the file in a "
                    "process of its own (multiprocessing: the start method 'spawn')"
                )
            self._replacement = ONNXRuntimeEngine(self._graph, self.outputs, self._threads)
        return self._replacement

    def run(self, images: Images) -> Outputs:
        """See `Engine`."""
        if _forked():
            return self._in_fork().run(images)
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._latency.create_infer_request()
            keep_after_fork(request)
        images = _shareable(images)
        with raising_engine_errors(_FAILED):
            request.set_input_tensor(openvino.Tensor(images, shared_memory=True))
            request.infer()
        results = self._results(request)
        self._idle.append(request)
        return results

    def stream(self, batches: Iterable[Images]) -> Iterator[Outputs]:
        """See `Engine`."""
        if _forked():
            yield from self._in_fork().stream(batches)
            return
        rest, done = iter(batches), 0
        for images in rest:
            if self._throughput is not None or done >= FEW:
                yield from self._stream_many(chain([images], rest))
                return
            done += len(images)
            yield self.run(images)

    def _stream_many(self, batches: Iterable[Images]) -> Iterator[Outputs]:
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
                with raising_engine_errors(_FAILED):
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
        with raising_engine_errors(_FAILED):
            request.wait()
        return self._results(request)

    def _results(self, request: Any) -> Outputs:
        # Copies: the request's own memory is written over by its next run.
        return [np.array(request.get_output_tensor(i).data) for i in range(len(self.outputs))]


def _shareable(images: Images) -> Images:
    """Return the images contiguous and writable, as OpenVINO shares memory."""
    return np.require(images, requirements=["C", "W"])
