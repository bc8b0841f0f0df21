"""`whatsit similar`: the pictures that look most like one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from whatsit.cache import working
from whatsit.errors import UsageError
from whatsit.events import SILENT, Reporter
from whatsit.images.image_paths import find_pictures
from whatsit.images.walk import LeftOut
from whatsit.runtime.embeddings import Embedder
from whatsit.runtime.predictor import Predictor


@dataclass(frozen=True)
class Similar:
    """A picture that looks like the one that was asked for."""

    image: str
    similarity: float  # cosine of the angle between the embeddings; 1 for the same picture


@working()
def similar(
    model: str | Path,
    picture: str | Path,
    pictures: list[str],
    *,
    count: int = 10,
    runtime: str = "auto",
    reporter: Reporter = SILENT,
) -> list[Similar]:
    """Return the pictures that look most like one, to the network of a model.

    The embeddings of pictures are kept in the cache, so that the next search only reads the files.

    Args:
        model: a `.whatsit` file or a run folder.
        picture: a file.
        pictures: files, folders and globs to search, of any size. The picture itself is left out.
        count: the number of pictures to return.
        runtime: as for `Predictor`.
        reporter: takes events.

    Returns:
        The pictures, the most alike first, with their likeness: 1 for the same, 0 for nothing in common.

    Raises:
        UsageError: an argument is wrong, or there are no pictures.
        ImageError: the picture cannot be read.
        EngineError: the model has no embedding.
    """
    if count < 1:
        raise UsageError(f"the number of pictures must be at least 1, received {count}")
    predictor = Predictor(model, runtime=runtime)
    [wanted] = predictor.embed([str(picture)])
    own, left_out = os.path.realpath(picture), LeftOut()
    names = [name for name in find_pictures(pictures, left_out, reporter) if os.path.realpath(name) != own]
    advance, looked, failed = reporter.stage("Looking at the pictures"), 0, 0
    best: list[Similar] = []
    for lot in Embedder(predictor).embed_files(names):
        found = zip(lot.names, lot.rows @ wanted, strict=True)
        best += [Similar(name, round(min(float(share), 1.0), 4)) for name, share in found]
        best = sorted(best, key=lambda one: -one.similarity)[:count]
        failed += len(lot.errors)
        looked += len(lot.names) + len(lot.errors)
        advance(looked, len(names))
    if failed:
        reporter.warn(f"{failed:,} of {len(names):,} pictures cannot be read and were left out")
    if not best:
        raise UsageError(f"no other pictures that can be read in {', '.join(pictures)[:200]}")
    return best
