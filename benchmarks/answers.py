"""Latency of one image by every runtime, cold and warm, and of `--help`.

Cold: a new process; warm: a Predictor and an Explainer that have answered before.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import whatsit
from process import WHATSIT, run
from record import Figure, add_option, save
from whatsit.engines import available
from whatsit.runtime.explain import Explainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("picture")
    parser.add_argument("--rounds", type=int, default=7)
    add_option(parser)
    options = parser.parse_args()
    figures = []
    for name, command in (
        ("whatsit --help", ["--help"]),
        *(
            (f"whatsit predict --runtime {r}", ["predict", options.model, options.picture, "--runtime", r])
            for r in ("auto", *available())
        ),
    ):
        times = [run([*WHATSIT, *command]).seconds for _ in range(options.rounds)]
        figures.append(
            Figure(f"`{name}`, cold process", statistics.median(times), "s", min(times), max(times), "median")
        )
        print(f"{name:40s} median {statistics.median(times):.3f} s, largest {max(times):.3f} s", flush=True)
    for runtime in available():
        predictor = whatsit.load(options.model, runtime=runtime)
        explainer = Explainer(predictor)
        height, width = predictor.size
        for what, work in (
            ("predict([path])", lambda predictor=predictor: predictor.predict([options.picture])),
            ("explain(path)", lambda explainer=explainer: explainer.explain(options.picture)),
        ):
            work()
            times = []
            for _ in range(200):
                started = time.perf_counter()
                work()
                times.append(1000 * (time.perf_counter() - started))
            p50, p99 = np.percentile(times, [50, 99])
            figures.append(
                Figure(
                    f"`{what}`, warm, {runtime}, {width} x {height}",
                    p50,
                    "ms",
                    min(times),
                    p99,
                    "median; to the slowest hundredth",
                )
            )
            print(f"warm {what}, {runtime}, {width} x {height}: p50 {p50:.2f} ms, p99 {p99:.2f} ms", flush=True)

    save(options.record, "One picture", figures)


if __name__ == "__main__":
    main()
