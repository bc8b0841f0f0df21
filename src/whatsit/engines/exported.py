"""Opens the files that `whatsit export` writes, each by the runtime that it is made for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from whatsit.engines import EngineError, Images

Probabilities: TypeAlias = npt.NDArray[np.float32]
Infer: TypeAlias = Callable[[Images], Probabilities]  # uint8 [N, H, W, 3], any N, to float32 [N, K]

OUTPUT = "probabilities"


def open_exported(path: Path, runtime: str | None = None) -> Infer:
    """An exported file (or folder) as a function from pixels to probabilities, which raises `EngineError` where it fails.

    Args:
        path: `.onnx`, `.xml` (OpenVINO), `.tflite`, `.keras`, `.h5`, or the folder of a SavedModel.
        runtime: for `.onnx` `onnxruntime` (the default) or `openvino`; every other file has one runtime.

    Raises:
        EngineError: the runtime refuses the file, or the file is not one of ours.
    """
    infer = _checked(path, lambda: _open(path, runtime))
    return lambda images: _checked(path, lambda: infer(images))


def _checked(path: Path, work: Callable[[], Any]) -> Any:
    """Each runtime has errors of its own."""
    try:
        return work()
    except (EngineError, ImportError, MemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise EngineError(f"{path}: this is no exported model of this kind, or it is damaged: {reason[:200]}") from None


def _open(path: Path, runtime: str | None) -> Infer:
    if path.suffix in (".onnx", ".xml"):
        return _graph(path, runtime or ("openvino" if path.suffix == ".xml" else "onnxruntime"))
    if path.suffix == ".tflite":
        from whatsit.engines.litert import LiteRT

        return LiteRT(path.read_bytes()).run
    from whatsit.engines.tensorflow import open_saved_model, read_keras

    if path.suffix in (".keras", ".h5"):
        model = read_keras(path)
        return lambda images: np.asarray(model(images, training=False))
    return open_saved_model(path)


def _graph(path: Path, runtime: str) -> Infer:
    engine: Any
    if runtime == "openvino":
        from whatsit.engines.openvino import OpenVINOEngine

        # ONNX from memory, so that it cannot name other files.
        engine = OpenVINOEngine(path if path.suffix == ".xml" else path.read_bytes(), (OUTPUT,), "float32", None)
    else:
        from whatsit.engines.onnxruntime import ONNXRuntimeEngine

        engine = ONNXRuntimeEngine(path.read_bytes(), (OUTPUT,), None)

    def infer(images: Images) -> Probabilities:
        [found] = engine.run(images)
        return found  # type: ignore[no-any-return]

    return infer
