"""The kinds of arrays that are handed on, each named once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Float16 = npt.NDArray[np.float16]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Images = npt.NDArray[np.uint8]  # [N, H, W, 3], RGB
Labels = npt.NDArray[Any]  # whole numbers [N], each the number of a class
Probabilities = npt.NDArray[Any]  # floats [N, K], whose rows sum to 1
