"""Answers in shards: ratios of one run, on this machine.

    python benchmarks/scale.py MODEL FOLDER [--ray] [--json FILE]

MODEL is a run folder or a .whatsit file, FOLDER holds pictures (1,000 or more). Measured are pictures a second of plain
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
    """The time of a command, without that of starting Python and opening the model."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "whatsit", *command], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: dict[str, float | str | int] = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
    }
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        seconds(["shard", given.folder, "--out", str(place / "m"), "--rows", "200"])
        one = next(path for path in sorted(Path(given.folder).rglob("*")) if path.is_file())
        start = min(seconds(["predict", given.model, str(one)]) for _ in range(2))
        rounds: dict[str, list[float]] = {"plain": [], "one worker": [], "two workers": []}
        for turn in range(3):  # by turns, so that a slow minute is shared
            rounds["plain"].append(seconds(["predict", given.model, given.folder]) - start)
            for count, words in ((1, "one worker"), (2, "two workers")):
                out = str(place / f"{turn}-{count}")
                command = ["predict", given.model, str(place / "m"), "--out", out, "--workers", str(count)]
                rounds[words].append(seconds(command) - start)
        best = {words: min(values) for words, values in rounds.items()}
        pictures = sum(path.is_file() for path in Path(given.folder).rglob("*"))
        found |= {f"pictures/s, {words}": round(pictures / value, 1) for words, value in best.items()}
        found["two workers / one"] = round(best["one worker"] / best["two workers"], 3)
        found["two workers / plain"] = round(best["plain"] / best["two workers"], 3)
        for shards in (1_000, 100_000):
            done = subprocess.run(
                [sys.executable, "-c", ENDLESS, str(shards)], check=True, capture_output=True, text=True
            )
            found[f"MB of the driver, {shards:,} shards"] = round(float(done.stdout), 1)
        if given.ray:
            found["Ray / two workers"] = round(best["two workers"] / with_ray(given.model, place), 3)
    found["MB of this process"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    for words, value in found.items():
        sys.stdout.write(f"{words:40s} {value}\n")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


def with_ray(model: str, place: Path) -> float:
    """Return the seconds on a Ray cluster of this machine.

    The best of three rounds, as the first also starts the actors.
    """
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "HOME": str(place)})
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.scale.ray_script import loopback_up

    loopback_up()
    from ray.cluster_utils import Cluster

    from whatsit.verbs.predict_shards import predict_shards

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    times = []
    for turn in range(3):
        began = time.perf_counter()
        predict_shards(model, place / "m", place / f"ray-{turn}", ray=cluster.address)
        times.append(time.perf_counter() - began)
    cluster.shutdown()
    return min(times)


if __name__ == "__main__":
    main()
