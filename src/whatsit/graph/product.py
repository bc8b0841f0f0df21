"""Products along the height or the width of pictures, of standard layers, which every format of Keras can keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class Product:
    """Rows `[H]` or columns `[W]` of channels-last pictures times a matrix `[H, V]` or `[W, V]`."""

    def __init__(self, matrix: npt.NDArray[Any], *, axis: int, name: str) -> None:
        """`axis` is 1 for the height, 2 for the width."""
        from keras import layers

        self._matrix = matrix
        self._product = layers.Dense(matrix.shape[1], use_bias=False, trainable=False, name=name)
        order = (3, 2, 1) if axis == 1 else (1, 3, 2)
        self._there, self._back = (layers.Permute(order, name=f"{name}_{end}") for end in ("there", "back"))

    def __call__(self, pictures: Any) -> Any:
        """The result as a Keras tensor, of float pictures."""
        result = self._back(self._product(self._there(pictures)))
        self._product.set_weights([np.asarray(self._matrix, np.float32)])
        return result


def picking(places: npt.NDArray[np.int64], have: int) -> npt.NDArray[np.float32]:
    """The matrix `[have, V]` whose product picks those V places."""
    return np.eye(have, dtype=np.float32)[:, places]
