"""Peak memory of training on some and on all images, beside the cached features."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from process import WHATSIT, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--limit", type=int, default=1000, help="pictures of each class in the smaller run")
    options = parser.parse_args()
    peaks, caches = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, limit in (("part", ["--limit", str(options.limit)]), ("all", [])):
            cache = Path(folder) / f"{name}-cache"
            command = [*WHATSIT, "train", options.data, "--out", f"{folder}/{name}", "--json", *limit]
            done = run(command, WHATSIT_CACHE=str(cache))
            caches.append(sum(path.stat().st_size for path in cache.rglob("*.npy")) / 2**20)
            peaks.append(done.peak_mb)
            accuracy = json.loads(done.stdout)["test"]["accuracy"]
            print(
                f"{name}: peak {done.peak_mb:.0f} MB, cached features {caches[-1]:.0f} MB, accuracy {accuracy:.3f}",
                flush=True,
            )
    print(f"memory grew by {peaks[1] - peaks[0]:.0f} MB, the cached features by {caches[1] - caches[0]:.0f} MB")


if __name__ == "__main__":
    main()
