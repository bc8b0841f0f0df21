"""`whatsit tune` beside the recipe as it is: test accuracy of both, and the time.

Both have the same seed, so the same split, and cold caches.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from process import run_cold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--time-limit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="the folder in which both are kept; without it they are removed")
    options = parser.parse_args()
    more = ["--time-limit", options.time_limit] if options.time_limit else []
    more += ["--trials", str(options.trials)] if options.trials else []
    common = [options.data, "--recipe", options.recipe, "--seed", str(options.seed), "--json"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        tuned = run_cold(["tune", *common, *more, "--out", str(folder / "tuned")], Path(scratch))
        plain = run_cold(["train", *common, "--out", str(folder / "plain")], Path(scratch))
    found, before = json.loads(tuned.stdout), json.loads(plain.stdout)
    print(f"as it is: {before['test']['accuracy']:.4f} in {plain.seconds:.0f} s")
    print(
        f"tuned: {found['test']['accuracy']:.4f} in {tuned.seconds:.0f} s, peak {tuned.peak_mb:.0f} MB, "
        f"{found['trials']} trials, "
        f"{100 * (found['test']['accuracy'] - before['test']['accuracy']):+.2f} points"
    )
    print(json.dumps(found["best"]))


if __name__ == "__main__":
    main()
