"""`predict --csv` and `--sort-into` beside the runtime alone, in turns.

    python benchmarks/sorting.py MODEL PICTURES [--pictures 10000] [--rounds 3]

PICTURES is a folder of photos; links to them are made in a folder of their own until there are as many as asked for.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

from whatsit.images.batches import decode_batches
from whatsit.images.formats import EXTENSIONS
from whatsit.runtime.predictor import Predictor
from whatsit.runtime.unsorting import undo
from whatsit.verbs.predict_files import predict_files

ARRAYS = 2000  # pictures that are decoded beforehand


def runtime_alone(predictor: Predictor, files: list[Path]) -> float:
    """Return pictures a second of ready arrays."""
    batches = decode_batches(files[:ARRAYS], Path.read_bytes, predictor.size, batch_size=8, rule=predictor.rule)
    arrays = [batch.pixels for batch in batches]
    started = time.perf_counter()
    for _ in predictor.stream(arrays):
        pass
    return sum(map(len, arrays)) / (time.perf_counter() - started)


def linked(pictures: Path, count: int, place: Path) -> list[Path]:
    """Return that many links to the photos of a folder."""
    found = sorted(path for path in pictures.rglob("*") if path.suffix.lower() in EXTENSIONS)
    links = []
    for number, path in zip(range(count), itertools.cycle(found), strict=False):
        links.append(place / f"{number:06d}{path.suffix}")
        links[-1].hardlink_to(path.resolve())
    return links


def main() -> None:
    """Print a line for each round, and the middle of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--pictures", type=int, default=10_000, dest="count")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    predictor = Predictor(options.model)
    ratios: dict[str, list[float]] = {"table": [], "copies": [], "links": [], "moves": []}
    with tempfile.TemporaryDirectory(dir=options.pictures.parent) as folder:
        inbox = Path(folder) / "photos"
        inbox.mkdir()
        files = linked(options.pictures, options.count, inbox)
        for number in range(options.rounds):
            alone = runtime_alone(predictor, files)
            table = predict_files(options.model, [str(inbox)], table=Path(folder) / f"{number}.csv")
            rates = {"table": table.images / table.seconds}
            for kind, way in (("copies", "copy"), ("links", "link"), ("moves", "move")):
                sorted_into = Path(folder) / f"sorted-{number}"
                done = predict_files(options.model, [str(inbox)], sort_into=sorted_into, way=way)
                if way == "move":
                    undo(sorted_into)
                shutil.rmtree(sorted_into, ignore_errors=True)  # undone moves leave nothing
                rates[kind] = done.images / done.seconds
            for kind, rate in rates.items():
                ratios[kind].append(rate / alone)
            told = "   ".join(f"{kind} {rate:.0f}/s" for kind, rate in rates.items())
            print(f"runtime {alone:.0f}/s   {told}", flush=True)
    for kind, found in ratios.items():
        print(f"{kind}: {median(found):.2f} of the runtime's rate")


if __name__ == "__main__":
    main()
