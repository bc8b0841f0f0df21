"""Test accuracy and whole-process time of a recipe over several seeds, each with a cold cache."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from process import run_cold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    accuracies = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            command = ["train", options.data, "--recipe", options.recipe, "--seed", str(seed), "--json"]
            done = run_cold([*command, "--out", str(Path(folder) / str(seed))], Path(folder))
            test = json.loads(done.stdout)["test"]
            accuracies.append(test["accuracy"])
            print(
                f"seed {seed}: accuracy {test['accuracy']:.4f}, loss {test['loss']:.3f}, n {test['n']}; "
                f"{done.seconds:.1f} s, peak {done.peak_mb:.0f} MB",
                flush=True,
            )
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    print(f"mean {statistics.mean(accuracies):.4f}, standard deviation {spread:.4f} over {len(accuracies)} seeds")


if __name__ == "__main__":
    main()
