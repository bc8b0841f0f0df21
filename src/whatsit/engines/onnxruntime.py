"""Run graphs by ONNX Runtime, the engine that is always installed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy.typing as npt

from whatsit.engines.base import EngineError, Images, Outputs, raising_engine_errors
from whatsit.process import environment, keep_after_fork

# From 1.29 it would otherwise report its use to Microsoft, and keep an identity in the user's home. Windows ignores the
# variable; there the function below switches it off.
with environment({"ORT_DISABLE_TELEMETRY": "1"}):
    import onnxruntime

onnxruntime.disable_telemetry_events()

_FATAL = 4  # errors come as exceptions, and need not also be printed


class ONNXRuntimeEngine:
    """An `Engine` of ONNX Runtime."""

    runtime = "onnxruntime"

    def __init__(self, graph: bytes, outputs: tuple[str, ...], threads: int | None) -> None:
        """Compile a graph. Raises `EngineError` where it is refused or has no such output."""
        self.outputs = outputs
        self._graph, self._threads = graph, threads
        self._session, self._process = self._open(), os.getpid()
        missing = set(outputs) - {output.name for output in self._session.get_outputs()}
        if missing:
            raise EngineError(f"the graph has no output '{missing.pop()}'")
        self._input = self._session.get_inputs()[0].name
        self._run_options = onnxruntime.RunOptions()
        self._run_options.log_severity_level = _FATAL
        self._run_options.only_execute_path_to_fetches = True

    def _open(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        # Idle worker threads must not spin: the cores are needed for decoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._threads:
            options.intra_op_num_threads = self._threads
        with raising_engine_errors("ONNX Runtime refuses the graph"):
            session = onnxruntime.InferenceSession(self._graph, options, providers=["CPUExecutionProvider"])
        keep_after_fork(session)
        return session

    def run(self, images: Images) -> Outputs:
        """See `Engine`."""
        if self._process != os.getpid():  # forked since: the threads of the session stayed behind
            self._session, self._process = self._open(), os.getpid()
        with raising_engine_errors("ONNX Runtime cannot run the graph"):
            return cast(Outputs, self._session.run(list(self.outputs), {self._input: images}, self._run_options))

    def stream(self, batches: Iterable[Images]) -> Iterator[Outputs]:
        """See `Engine`; one batch already uses every core."""
        return map(self.run, batches)


def evaluate(graph: bytes, inputs: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str]) -> Outputs:
    """Run a graph of any inputs once.

    Raises `EngineError` where it is refused or fails.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    with raising_engine_errors("ONNX Runtime refuses the graph"):
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return cast(Outputs, session.run(list(outputs), dict(inputs)))
