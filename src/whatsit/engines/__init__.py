"""Run an exported graph as fast as this machine can: arrays in, arrays out."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from whatsit.engines.base import Engine, EngineError, Images, Outputs
from whatsit.errors import UsageError
from whatsit.process import granted_processors

__all__ = ["Engine", "EngineError", "Images", "Outputs", "available", "open_engine", "training_precision"]

RUNTIMES = ("openvino", "onnxruntime")
PRECISIONS = ("float32", "bfloat16")


def available() -> tuple[str, ...]:
    """Return the runtimes that are installed, the preferred one first."""
    return tuple(name for name in RUNTIMES if importlib.util.find_spec(name) is not None)


def training_precision(runtime: str) -> str:
    """Return the precision that computes training features fastest here."""
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
        threads: how many processor threads to use; by default all cores, or those that a container is given.

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
    threads = threads or granted_processors()
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
