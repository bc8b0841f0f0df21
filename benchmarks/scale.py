"""Answers in shards: ratios of one run, on this machine.

    python benchmarks/scale.py MODEL FOLDER [--ray] [--json FILE] [--record FILE]

MODEL is a run folder or a .whatsit file, FOLDER holds pictures (some hundred or more). Measured are pictures a second of plain
`whatsit predict`, of shards with one worker and with two, and the memory of the driver over 1,000 and 100,000 shards without
pictures. With `--ray`, a cluster of this machine too: it listens on all addresses, so start this within
`unshare --net --pid --fork --mount-proc`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import Figure, add_option, save

ROUNDS = 2
WORKERS = 2  # each on a core
CORE_HOUR = (0.02, 0.05)  # US dollars, of spot machines
REPEAT = 4  # of all pictures, so that what starting takes hardly counts
ENDLESS = """
import resource, sys
from pathlib import Path
from whatsit.images.places import FolderPlace
from whatsit.scale import schedulers
from whatsit.scale.progress import Tally
from whatsit.events import SILENT
from whatsit.scale.supervise import Task
schedulers.write_part = lambda manifest, place, shard, supervisor, progress: 0
shards = int(sys.argv[1])
tally = Tally(SILENT, shards)
schedulers.LocalPool(Task("predict", {}, "."), 2).write_parts(None, FolderPlace(Path(".")), range(shards), tally.add)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def seconds(command: list[str]) -> float:
    """The time of a command."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "whatsit", *command], check=True, capture_output=True)
    return time.perf_counter() - began


def difference(values: list[float]) -> float:
    """Return the fastest long time less the fastest short one; those are negative."""
    return min(value for value in values if value > 0) - min(-value for value in values if value < 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--json", type=Path)
    add_option(parser)
    given = parser.parse_args()
    found: dict[str, float | str | int] = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
    }
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        few = place / "few"  # what starting takes is measured with as many pictures, and left out
        few.mkdir()
        pictures = [path for path in sorted(Path(given.folder).rglob("*")) if path.is_file()]
        for picture in pictures[:16]:
            (few / picture.name).symlink_to(picture.absolute())
        listed = place / "list.txt"
        listed.write_text("".join(f"{path.absolute()}\n" for path in pictures * REPEAT))
        for source, name, rows in ((listed, "m", 200), (few, "few-m", 8)):  # two shards, so that both workers start
            seconds(["shard", str(source), "--out", str(place / name), "--rows", str(rows)])
        best: dict[str, list[float]] = {"plain": [], "one worker": [], "two workers": []}
        for turn in range(ROUNDS):  # by turns, so that a slow minute is shared
            best["plain"].append(seconds(["predict", given.model, *[given.folder] * REPEAT]))
            best["plain"].append(-seconds(["predict", given.model, str(few)]))
            for count, words in ((1, "one worker"), (2, "two workers")):
                for sign, name in ((1, "m"), (-1, "few-m")):
                    out = str(place / f"{turn}-{count}-{name}")
                    command = ["predict", given.model, str(place / name), "--out", out, "--workers", str(count)]
                    best[words].append(sign * seconds(command))
        steady = {words: difference(values) for words, values in best.items()}
        found |= {
            f"pictures/s, {words}": round((REPEAT * len(pictures) - 16) / value, 1) for words, value in steady.items()
        }
        found["two workers / one"] = round(steady["one worker"] / steady["two workers"], 3)
        found["two workers / plain"] = round(steady["plain"] / steady["two workers"], 3)
        for shards in (1_000, 100_000):
            done = subprocess.run(
                [sys.executable, "-c", ENDLESS, str(shards)], check=True, capture_output=True, text=True
            )
            found[f"MB of the driver, {shards:,} shards"] = round(float(done.stdout), 1)
        if given.ray:
            found["Ray / two workers"] = round(steady["two workers"] / with_ray(given.model, place), 3)
    found["MB of this process"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    for words, value in found.items():
        sys.stdout.write(f"{words:40s} {value}\n")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    save(given.record, "Answers in shards", figures(found))


def figures(found: dict[str, float | str | int]) -> list[Figure]:
    """Return what was measured, and what a billion pictures would take by it."""
    measured = [Figure(what, value, unit_of(what)) for what, value in found.items() if isinstance(value, float)]
    hours = 1e9 / float(found["pictures/s, two workers"]) * WORKERS / 3600
    dollars = [hours * price for price in CORE_HOUR]
    return [
        *measured,
        Figure("a billion pictures", hours, "core-hours", note="two cores at the rate of two workers"),
        Figure("dollars for these", sum(dollars) / 2, "dollars", *dollars, "at 0.02 to 0.05 US dollars a core-hour"),
    ]


def unit_of(what: str) -> str:
    return "pictures/s" if what.startswith("pictures/s") else "MB" if what.startswith("MB") else "times"


def with_ray(model: str, place: Path) -> float:
    """Return the seconds on a Ray cluster of this machine.

    Without those that it takes to start.
    """
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "HOME": str(place)})
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.scale.ray_script import loopback_up

    loopback_up()
    from ray.cluster_utils import Cluster

    from whatsit.verbs.predict_shards import predict_shards

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    times = []
    for turn in range(ROUNDS):
        for sign, name in ((1, "m"), (-1, "few-m")):
            began = time.perf_counter()
            predict_shards(model, place / name, place / f"ray-{turn}-{name}", ray=cluster.address)
            times.append(sign * (time.perf_counter() - began))
    cluster.shutdown()
    return difference(times)


if __name__ == "__main__":
    main()
