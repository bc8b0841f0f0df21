"""Runs an exported graph as fast as this machine can. Arrays in, arrays out; nothing here knows what a class is."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from whatsit.errors import UsageError, WhatsitError

Images: TypeAlias = npt.NDArray[np.uint8]
Outputs: TypeAlias = list[npt.NDArray[Any]]

RUNTIMES = ("openvino", "onnxruntime")
PRECISIONS = ("float32", "bfloat16")


class EngineError(WhatsitError):
    """A graph cannot be run: the runtime is not installed, or refuses the graph."""


@contextmanager
def running(runtime: str) -> Iterator[None]:
    """Turn whatever a runtime raises while it runs a graph into an `EngineError`."""
    try:
        yield
    except (EngineError, MemoryError):
        raise
    except Exception as error:  # each runtime has its own, whose base is Exception
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise EngineError(f"{runtime} cannot run the graph: {reason[:200]}") from None


class Engine(Protocol):
    """A compiled graph with one input, uint8 `[N, height, width, 3]`, any N."""

    runtime: str
    outputs: tuple[str, ...]

    def run(self, images: Images) -> Outputs:
        """All outputs for a batch, in the order of `outputs`. The arrays belong to the caller. Thread-safe.

        Raises `EngineError` where the graph fails on these pictures.
        """
        ...

    def stream(self, batches: Iterable[Images]) -> Iterator[Outputs]:
        """`run` for each batch, results in order, working on several batches at once.

        After an `EngineError` it ends; the results of batches already taken are lost.
        """
        ...


def available() -> tuple[str, ...]:
    """The runtimes that are installed, the preferred one first."""
    return tuple(name for name in RUNTIMES if importlib.util.find_spec(name) is not None)


def training_precision(runtime: str) -> str:
    """The fastest precision for computing training features: bfloat16 where runtime and processor have it."""
    if runtime == "openvino":
        from whatsit.engines.openvino import has_bfloat16

        if has_bfloat16():
            return "bfloat16"
    return "float32"


def open_engine(
    graph: bytes,
    outputs: Sequence[str],
    *,
    runtime: str = "auto",
    precision: str = "float32",
    threads: int | None = None,
) -> Engine:
    """Compile an ONNX graph; only what the named outputs need is computed.

    Args:
        graph: a serialized ONNX model without external data.
        outputs: names of the graph's outputs, in the order they are wanted.
        runtime: one of `RUNTIMES`, or `auto` for the first that is installed.
        precision: `float32`, or `bfloat16` (OpenVINO only; moves probabilities by up to 0.1).
        threads: how many processor threads to use; all cores by default.

    Raises:
        UsageError: the runtime or the precision is unknown.
        EngineError: the runtime is not installed, does not know the precision, or refuses the graph.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision '{precision}'; allowed: {', '.join(PRECISIONS)}")
    if runtime == "auto":
        runtime = (available() or ("onnxruntime",))[0]
    if runtime not in RUNTIMES:
        raise UsageError(f"unknown runtime '{runtime}'; allowed: auto, {', '.join(RUNTIMES)}")
    try:
        if runtime == "openvino":
            from whatsit.engines.openvino import OpenVINOEngine

            return OpenVINOEngine(graph, tuple(outputs), precision, threads)
        if precision != "float32":
            raise EngineError(f"{runtime} runs in float32 only; for {precision} install openvino")
        from whatsit.engines.onnxruntime import ONNXRuntimeEngine

        return ONNXRuntimeEngine(graph, tuple(outputs), threads)
    except ImportError:
        raise EngineError(f"the runtime '{runtime}' is not installed; installed: {', '.join(available())}") from None
