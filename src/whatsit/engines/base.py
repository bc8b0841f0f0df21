"""What every engine has in common: its interface, its types, its error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from whatsit.errors import WhatsitError

Images: TypeAlias = npt.NDArray[np.uint8]
Outputs: TypeAlias = list[npt.NDArray[Any]]
Probabilities: TypeAlias = npt.NDArray[np.float32]
Infer: TypeAlias = Callable[[Images], Probabilities]  # uint8 [N, H, W, 3], any N, to float32 [N, K]

OUTPUT = "probabilities"  # of every exported file


class EngineError(WhatsitError):
    """A graph cannot be run: the runtime is not installed, or refuses the graph."""


class Engine(Protocol):
    """A compiled graph with one input, uint8 `[N, height, width, 3]`, any N."""

    runtime: str
    outputs: tuple[str, ...]

    def run(self, images: Images) -> Outputs:
        """Return all outputs for a batch, in the order of `outputs`. Thread-safe.

        The arrays belong to the caller. Raises `EngineError` where the graph fails on these images.
        """
        ...

    def stream(self, batches: Iterable[Images]) -> Iterator[Outputs]:
        """Yield the outputs of each batch in order, working on several batches at once.

        After an `EngineError` it ends; the results of batches already taken are lost.
        """
        ...


@contextmanager
def raising_engine_errors(message: str) -> Iterator[None]:
    """Raise what a runtime raises as an `EngineError` with a message and its reason."""
    try:
        yield
    except (EngineError, ImportError, MemoryError):
        raise
    except Exception as error:  # each runtime has errors of its own, whose base is Exception
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise EngineError(f"{message}: {reason[:200]}") from None
