"""Open the files of `whatsit export`, each by the runtime that it is made for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from whatsit.engines.base import OUTPUT, Engine, Images, Infer, Probabilities, raising_engine_errors

__all__ = ["Infer", "Probabilities", "open_exported"]


def open_exported(path: Path, runtime: str | None = None, output: str = OUTPUT) -> Infer:
    """Open an exported file (or folder) as a function from pixels to probabilities.

    The function raises `EngineError` where it fails on the images.

    Args:
        path: `.onnx`, `.xml` (OpenVINO), `.tflite`, `.h` (a C header), `.mlpackage` (Core ML, whose
            program is computed by ONNX Runtime), `.keras`, `.h5`, or the folder of a SavedModel.
        runtime: for `.onnx` `onnxruntime` (the default) or `openvino`; every other file has one runtime.
        output: another output of the file than the probabilities.

    Raises:
        EngineError: the runtime refuses the file, or the file is not one of ours.
    """
    damaged = f"{path}: this is no exported model of this kind, or it is damaged"
    with raising_engine_errors(damaged):
        run = _open(path, runtime, output)

    def infer(images: Images) -> Probabilities:
        with raising_engine_errors(damaged):
            return run(images)

    return infer


def _open(path: Path, runtime: str | None, output: str) -> Infer:
    if path.suffix in (".onnx", ".xml"):
        return _open_graph(path, runtime or ("openvino" if path.suffix == ".xml" else "onnxruntime"), output)
    if path.suffix in (".tflite", ".h"):
        from whatsit.engines.litert import LiteRT, model_in_header

        if path.suffix == ".h":
            return LiteRT(model_in_header(path.read_text(encoding="ascii")), reference=True).run
        return LiteRT(path.read_bytes(), output=output).run
    if path.suffix == ".mlpackage":
        from whatsit.engines.coreml import CoreMLProgram

        return CoreMLProgram(path).run
    from whatsit.engines.tensorflow import open_saved_model, read_keras

    if path.suffix in (".keras", ".h5"):
        model = read_keras(path)
        return lambda images: np.asarray(_part(model(images, training=False), output))
    return open_saved_model(path, output)


def _part(found: Any, output: str) -> Any:
    return found[output] if isinstance(found, dict) else found


def _open_graph(path: Path, runtime: str, output: str) -> Infer:
    engine: Engine
    if runtime == "openvino":
        from whatsit.engines.openvino import OpenVINOEngine

        # ONNX from memory, so that it cannot name other files.
        engine = OpenVINOEngine(path if path.suffix == ".xml" else path.read_bytes(), (output,), "float32", None)
    else:
        from whatsit.engines.onnxruntime import ONNXRuntimeEngine

        engine = ONNXRuntimeEngine(path.read_bytes(), (output,), None)
    return lambda images: engine.run(images)[0]
