"""Read an ONNX file that was made elsewhere, and trust nothing in it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from whatsit.errors import ModelError
from whatsit.graph.builder import OPSET
from whatsit.graph.check import FOREIGN, check_graph
from whatsit.images.names import plain

if TYPE_CHECKING:
    import onnx

MAX_FILE = 1024**3  # bytes
WHOLE = "python -c \"import onnx; onnx.save(onnx.load('{name}'), 'whole.onnx')\""
_AGAIN = "export the network again, in float32 and with standard operators"


def read_foreign(path: Path) -> onnx.ModelProto:
    """Return the model in a file, its operators not older than `OPSET`.

    Raises `ModelError` where it is missing, too large, damaged, or holds what whatsit does not run: external data, functions,
    graphs in operators, operators of other domains.
    """
    import onnx

    data = read_checked(path)
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker have errors of their own
        raise ModelError(f"{path}: this is no whole ONNX file: {_first_line(error)}") from None
    if model.graph.sparse_initializer:
        raise ModelError(f"{path}: it holds sparse weights, which whatsit does not run; {_AGAIN}")
    return _converted(model, path)


def read_checked(path: Path) -> bytes:
    """Return the bytes of an ONNX file that holds nothing but known operators.

    Raises `ModelError`. Needs no `onnx`.
    """
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise ModelError(f"{path}: this is not a file, so it is no ONNX network")
        if info.st_size > MAX_FILE:
            raise ModelError(f"{path}: {info.st_size:,} bytes are too many for a network; at most {MAX_FILE:,}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such ONNX file") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        check_graph(data, FOREIGN)
    except ValueError as error:
        advice = f"put all into one file: {WHOLE.format(name=path.name)}" if "external" in str(error) else _AGAIN
        raise ModelError(f"{path}: this file was refused: {error}; {advice}") from None
    return data


def _converted(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Return a model in the operators of `OPSET` where it has older ones."""
    from onnx import version_converter

    versions = [opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    if not versions:
        raise ModelError(f"{path}: it does not say the version of its operators (opset); {_AGAIN}")
    if versions[0] >= OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter has errors of its own
        raise ModelError(
            f"{path}: its operators are of opset {versions[0]} and cannot be brought to {OPSET} ({_first_line(error)}); export "
            f"the network again with opset {OPSET}"
        ) from None


def _first_line(error: Exception) -> str:
    return plain((str(error).strip().splitlines() or [type(error).__name__])[0][:200])
