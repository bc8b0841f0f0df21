"""Size and test accuracy of a model's exports.

Each DATA is trained by the recipe, unless a run folder is given, and its model exported. Of a C header also the working memory
that it states. Nothing here depends on how busy the machine is, but for the seconds of training.

python benchmarks/exports.py DATA_OR_RUN... --formats c,tflite,tflite-int8 [--recipe tiny] [--seed 0] [--set KEY=VALUE]
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from pathlib import Path

from process import WHATSIT, run
from record import Figure, add_option, save

MEMORY = re.compile(r"Model: ([\d,]+) bytes, to be kept in flash\. Working memory: ([\d,]+) bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", metavar="DATA_OR_RUN")
    parser.add_argument("--formats", required=True)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    add_option(parser)
    options = parser.parse_args()
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for source in options.sources:
            name, trained = Path(source).stem, Path(source, "model.whatsit").is_file()
            place = Path(source) if trained else Path(folder) / name
            if not trained:
                found.append(train(source, place, options))
            own = figures(name, place, options.formats, Path(folder) / f"{name}-export")
            found += own
            for figure in own:
                print(f"{figure.what:60s} {figure.value:10.2f} {figure.unit} {figure.note}", flush=True)
            settings = "".join(f", {setting}" for setting in options.settings)
            save(options.record, f"Exports of models of the recipe `{options.recipe}`{settings}", found)


def train(data: str, out: Path, options: argparse.Namespace) -> Figure:
    """Train a model; return the seconds of the whole process."""
    settings = [word for setting in options.settings for word in ("--set", setting)]
    began = time.perf_counter()
    words = ["train", data, "--recipe", options.recipe, "--seed", options.seed, *settings]
    run([*WHATSIT, *words, "--out", str(out)])
    return Figure(f"{Path(data).stem}: training", time.perf_counter() - began, "s", note="the whole process")


def figures(name: str, model: Path, formats: str, out: Path) -> list[Figure]:
    """Export a model, and return what each file takes and is right on."""
    test = json.loads((model / "metrics.json").read_text(encoding="utf-8"))["test"]
    about = f"of {test['n']:,} test images"
    found = [Figure(f"{name}: test accuracy", 100 * test["accuracy"], "%", note=about)]
    import whatsit

    for one in whatsit.export(model, formats, out=out):
        found.append(Figure(f"{name}: {one.format}, size", one.megabytes, "MB"))
        if one.gate:
            note = f"{about}; {100 * one.gate.agreement:.1f} % of the labels are the model's"
            note += "; REJECTED" if one.rejected else ""
            found.append(Figure(f"{name}: {one.format}, test accuracy", 100 * one.gate.accuracy, "%", note=note))
        if one.format == "c" and (stated := MEMORY.search(one.path.read_text(encoding="utf-8"))):
            for what, size in zip(("flash", "working memory"), stated.groups(), strict=True):
                found.append(Figure(f"{name}: c, {what}", int(size.replace(",", "")) / 1000, "kB"))
    return found


if __name__ == "__main__":
    main()
