"""Workers on the images of a data set, as training asks for them.

Processes of this machine, or the machines of a cluster: `scale/workers.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Handled:
    """What was found for an image."""

    digest: bytes = b""  # SHA-256 of the file
    data: bytes = b""
    error: str = ""  # why there is nothing


class Workers(Protocol):
    """Do work on images that they read themselves."""

    def handle(
        self,
        work: SharedWork,
        names: Sequence[str],
        take: Callable[[Sequence[int], Sequence[Handled]], None],
    ) -> None:
        """Do the work on each image of the data set named.

        `take` gets numbers of images among `names` and what was found, for all of them in time, by one thread at a time.
        """
        ...


@dataclass(frozen=True)
class SharedWork:
    """A kind of work, one of `scale/child.py`."""

    name: str
    settings: Mapping[str, Any]
    file: bytes  # of the graph, where it needs one
    width: int  # bytes found for an image
