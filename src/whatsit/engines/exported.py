"""Opens the files that `whatsit export` writes, each by the runtime that it is made for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from whatsit.engines import Images

Probabilities: TypeAlias = npt.NDArray[np.float32]
Run: TypeAlias = Callable[[Images], Probabilities]  # uint8 [N, H, W, 3], any N, to float32 [N, K]

OUTPUT = "probabilities"


def open_exported(path: Path, runtime: str | None = None, threads: int | None = None) -> Run:
    """An exported file (or folder) as a function from pixels to probabilities.

    Args:
        path: `.onnx`, `.xml` (OpenVINO), `.tflite`, `.keras`, `.h5`, or the folder of a SavedModel.
        runtime: for `.onnx` `onnxruntime` (the default) or `openvino`; every other file has one runtime.
        threads: processor threads; all cores by default. TensorFlow does not heed it.

    Raises:
        EngineError: the runtime refuses the file, or the file is not one of ours.
    """
    if path.suffix in (".onnx", ".xml"):
        return _graph(path, runtime or ("openvino" if path.suffix == ".xml" else "onnxruntime"), threads)
    if path.suffix == ".tflite":
        from whatsit.engines.litert import LiteRT

        return LiteRT(path.read_bytes(), threads).run
    from whatsit.engines.tensorflow import open_keras, open_saved_model

    return open_keras(path) if path.suffix in (".keras", ".h5") else open_saved_model(path)


def _graph(path: Path, runtime: str, threads: int | None) -> Run:
    engine: Any
    if runtime == "openvino":
        from whatsit.engines.openvino import OpenVINOEngine

        engine = OpenVINOEngine(path, (OUTPUT,), "float32", threads)
    else:
        from whatsit.engines.onnxruntime import ONNXRuntimeEngine

        engine = ONNXRuntimeEngine(path.read_bytes(), (OUTPUT,), threads)

    def run(images: Images) -> Probabilities:
        [found] = engine.run(images)
        return found  # type: ignore[no-any-return]

    return run
