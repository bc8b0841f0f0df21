"""Accuracy, lowest precision and recall of a class, and time, over several seeds.

The time is that of the whole process with a cold cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from process import run_cold
from record import Figure, add_option, save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--time-limit")
    parser.add_argument(
        "--keep", type=Path, help="the folder in which the runs are kept, to look at; without it they are removed"
    )
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    add_option(parser)
    options = parser.parse_args()
    more = [argument for setting in options.settings for argument in ("--set", setting)]
    more += ["--time-limit", options.time_limit] if options.time_limit else []
    accuracies, seconds, peaks = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first, options.first + options.seeds):
            command = ["train", options.data, "--recipe", options.recipe, "--seed", str(seed), *more, "--json"]
            out = (options.keep or Path(folder)) / f"{Path(options.recipe).stem}-{seed}"
            done = run_cold([*command, "--out", str(out)], Path(folder))
            test = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["test"]
            accuracies.append(100 * test["accuracy"])
            seconds.append(done.seconds)
            peaks.append(done.peak_mb)
            precision, recall = (
                min(metrics[key] for metrics in test["per_class"].values()) for key in ("precision", "recall")
            )
            print(
                f"seed {seed}: accuracy {test['accuracy']:.4f}, loss {test['loss']:.3f}, lowest precision {precision:.3f} and "
                f"recall {recall:.3f} of a class, n {test['n']}; {done.seconds:.1f} s, peak {done.peak_mb:.0f} MB",
                flush=True,
            )
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    print(f"mean {statistics.mean(accuracies):.2f} %, standard deviation {spread:.2f} over {len(accuracies)} seeds")
    several = f"mean of {len(accuracies)} seeds"
    measured = (
        ("test accuracy", accuracies, "%"),
        ("whole process, cold cache", seconds, "s"),
        ("peak memory", peaks, "MB"),
    )
    save(
        options.record,
        f"`whatsit train {Path(options.data).name}`, recipe `{Path(options.recipe).stem}`",
        [Figure(what, statistics.mean(all_), unit, min(all_), max(all_), several) for what, all_, unit in measured],
    )


if __name__ == "__main__":
    main()
