"""`whatsit predict`: what is in these pictures."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from whatsit.errors import ImageError, UsageError
from whatsit.images.decode import EXTENSIONS, Source
from whatsit.runtime.predictor import Prediction, Predictor


class Answering(Protocol):
    """A Predictor, or a service's model used like one."""

    def predict_each(
        self, items: Iterable[str], read: Callable[[str], Source], *, top: int = 5, coverage: float | None = None
    ) -> Iterator[tuple[str, Prediction | ImageError]]:
        """See `Predictor.predict_each`."""
        ...


def find_pictures(arguments: Iterable[str]) -> Iterator[str]:
    """Every picture that the arguments name: files, folders (searched through, hidden files not), and globs.

    Raises `UsageError` for an empty one, at once.
    """
    arguments = list(arguments)
    if not all(argument.strip() for argument in arguments):  # `Path` would take it for the current folder
        raise UsageError("IMAGE is empty; give a picture, a folder or a glob")
    return _found(arguments)


def _found(arguments: Iterable[str]) -> Iterator[str]:
    for argument in arguments:
        path = Path(argument)
        try:
            is_folder, exists = path.is_dir(), path.exists()
        except (OSError, ValueError):
            is_folder, exists = False, True  # opening it will say what is wrong
        if is_folder:
            found = (p for p in sorted(path.rglob("*")) if p.suffix.lower() in EXTENSIONS and p.is_file())
            yield from (str(p) for p in found if not any(part.startswith(".") for part in p.relative_to(path).parts))
        elif not exists and glob.has_magic(argument):
            yield from sorted(glob.glob(argument, recursive=True)) or [argument]  # noqa: PTH207 - Path.glob refuses absolute patterns
        else:
            yield argument


def predict(
    model: str | Path | Answering,
    pictures: Iterable[str],
    *,
    top: int = 5,
    coverage: float | None = None,
    runtime: str = "auto",
) -> Iterator[tuple[str, Prediction | ImageError]]:
    """Answer for each picture that `find_pictures` finds, in order; an unreadable one gets its own error.

    Raises as `find_pictures` and the Predictor do.
    """
    names = find_pictures(pictures)
    predictor = Predictor(model, runtime=runtime) if isinstance(model, str | Path) else model
    return predictor.predict_each(names, lambda name: name, top=top, coverage=coverage)
