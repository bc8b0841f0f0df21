"""Train one recipe on many data sets and print one table.

Each training runs in a fresh process with an empty cache.

python benchmarks/battery.py DATA... [--recipe fast] [--backbone NETWORK] [--seeds 3] [--save FILE] [--against FILE]

Run it before and after a change to training: `--save` keeps the rows as JSON, `--against` adds the change of accuracy since
such a file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from process import run_cold
from record import Figure, add_option, save

HEAD = (
    "| data | classes | test images | accuracy | 95 % interval | macro recall | lowest recall | linear probe | ECE | seconds "
    "| peak MB |"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--recipe")
    parser.add_argument("--backbone", help="as of `whatsit train`, such as an ONNX file")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--time-limit")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--save", type=Path, help="a JSON file for the rows")
    parser.add_argument("--against", type=Path, help="rows of an earlier call, to compare with")
    add_option(parser)
    options = parser.parse_args()
    before = by_data(json.loads(options.against.read_text(encoding="utf-8"))) if options.against else {}
    backbone = f", backbone `{Path(options.backbone).name}`" if options.backbone else ""
    rows: list[dict[str, Any]] = []
    print(HEAD + (" change |" if before else ""))
    print("|---" * (HEAD.count("|") - 1 + bool(before)) + "|", flush=True)
    for data in options.data:
        own = [measure(data, seed, options) for seed in range(options.seeds)]
        rows += own
        print(line(own, before), flush=True)
        if options.save:
            options.save.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        save(
            options.record,
            f"`whatsit train DATA`, recipe `{options.recipe or 'fast'}`{backbone}, on data of different kinds",
            figures(rows),
        )


def figures(rows: list[dict[str, Any]]) -> list[Figure]:
    """Return the accuracy on each data set, with the first seed's interval."""
    found = []
    for name, own in by_data(rows).items():
        low, high = own[0]["interval"]
        about = f"{own[0]['classes']} classes, {own[0]['n']:,} test images; 95 % interval"
        accuracy, seconds = (statistics.mean(row[key] for row in own) for key in ("accuracy", "seconds"))
        found.append(Figure(f"{name}: test accuracy", 100 * accuracy, "%", 100 * low, 100 * high, about))
        found.append(Figure(f"{name}: model file", own[0]["megabytes"], "MB"))
        found.append(Figure(f"{name}: whole process, cold cache", seconds, "s"))
    return found


def measure(data: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    more = ["--recipe", options.recipe] if options.recipe else []
    more += ["--backbone", options.backbone] if options.backbone else []
    more += [argument for setting in options.settings for argument in ("--set", setting)]
    more += ["--time-limit", options.time_limit] if options.time_limit else []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = ["train", data, "--seed", str(seed), *more, "--json", "--out", str(out)]
        done = run_cold(command, Path(folder))
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
        megabytes = (out / "model.whatsit").stat().st_size / 1e6
    test, examined = metrics["test"], metrics["examination"] or {}
    recalls = [row["recall"] for row in test["per_class"].values() if row["n"]]
    return {
        "data": Path(data).stem,
        "seed": seed,
        "classes": len(test["per_class"]),
        "n": test["n"],
        "accuracy": test["accuracy"],
        "interval": test["accuracy_ci95"],
        "macro_recall": statistics.mean(recalls),
        "lowest_recall": min(recalls),
        "probe": examined.get("linear_probe_accuracy"),
        "ece": test["ece"],
        "megabytes": megabytes,
        "seconds": done.seconds,
        "peak_mb": done.peak_mb,
    }


def line(rows: list[dict[str, Any]], before: dict[str, list[dict[str, Any]]]) -> str:
    """Return a row of the table: the mean over seeds.

    The interval is that of the first seed, beside the range of accuracies where there are more.
    """

    def mean(key: str) -> float:
        values = [row[key] for row in rows if row[key] is not None]
        return statistics.mean(values) if values else float("nan")

    first, accuracies = rows[0], [row["accuracy"] for row in rows]
    low, high = first["interval"]
    spread = f" ({100 * min(accuracies):.1f} to {100 * max(accuracies):.1f})" if len(rows) > 1 else ""
    cells = [
        first["data"],
        first["classes"],
        f"{first['n']:,}",
        f"{100 * mean('accuracy'):.2f} %{spread}",
        f"{100 * low:.1f} to {100 * high:.1f}",
        f"{100 * mean('macro_recall'):.1f}",
        f"{100 * min(row['lowest_recall'] for row in rows):.1f}",
        f"{100 * mean('probe'):.2f}",
        f"{100 * mean('ece'):.1f}",
        f"{mean('seconds'):.0f}",
        f"{mean('peak_mb'):,.0f}",
    ]
    if before:
        old = before.get(first["data"])
        cells.append(f"{100 * (mean('accuracy') - statistics.mean(r['accuracy'] for r in old)):+.2f}" if old else "new")
    return "| " + " | ".join(map(str, cells)) + " |"


def by_data(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found = defaultdict(list)
    for row in rows:
        found[row["data"]].append(row)
    return found


if __name__ == "__main__":
    main()
