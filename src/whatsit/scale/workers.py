"""Those who work on the images of a manifest while a model is trained."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from whatsit.images.manifest_data import ManifestStore
from whatsit.images.workers import Handled, SharedWork
from whatsit.scale.opening import open_scheduler
from whatsit.scale.supervise import Answered, Task

LOT = 256  # images that a worker gets at once


class ShardWorkers:
    """Supervised processes here or on a Ray cluster; see `images/workers.py`."""

    def __init__(self, store: ManifestStore, ray: str | None, workers: int | None) -> None:
        self._store, self._ray, self._workers = store, ray, workers

    def handle(
        self, work: SharedWork, names: Sequence[str], take: Callable[[Sequence[int], Sequence[Handled]], None]
    ) -> None:
        """See `images/workers.py`. Raises `WorkerError`."""
        rows = [self._store.rows[name] for name in names]
        lots = [rows[start : start + LOT] for start in range(0, len(rows), LOT)]

        def pass_on(number: int, answers: list[Answered]) -> None:
            found = [Handled(bytes.fromhex(one.digest), one.data, one.error) for one in answers]
            take(range(number * LOT, number * LOT + len(found)), found)

        with tempfile.TemporaryDirectory() as folder:
            settings = dict(work.settings)
            if work.file:
                path = Path(folder, "model")
                path.write_bytes(work.file)
                settings["model"] = str(path)
            task = Task(work.name, settings, self._store.root, work.width)
            open_scheduler(task, work.file, self._ray, self._workers).answer(lots, pass_on)


def hire(ray: str | None, workers: int | None) -> Callable[[ManifestStore], ShardWorkers] | None:
    """Return what finds workers for a manifest's images, or None."""
    return None if ray is None and workers is None else partial(ShardWorkers, ray=ray, workers=workers)
