"""Work on a Ray cluster that loses a machine and a worker; run in a network of its own, as Ray listens on all addresses.

Arguments: model, manifest's place, folder of images, folder for answers. Prints a line of JSON: a part of it for each run.
"""

from __future__ import annotations

import faulthandler
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import unittest.mock
from dataclasses import replace
from pathlib import Path

PATIENT = {  # a machine whose processors others use is not taken for dead
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "6",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
# A machine without what only tells people of it: each of these is a process that takes seconds to load.
MACHINE = {"num_cpus": 1, "include_log_monitor": False}
HEAD = MACHINE | {"include_dashboard": False, "no_monitor": True}


def loopback_up() -> None:
    """What `ip link set lo up` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        request = struct.pack("16sh", b"lo", 1)  # IFF_UP
        fcntl.ioctl(one.fileno(), 0x8914, request)  # SIOCSIFFLAGS


def contents(place: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(place.glob("part-*"))}


def when(place: Path, count: int, do) -> threading.Thread:
    """Do something once so many parts are there."""

    def wait() -> None:
        while len(list(place.glob("part-*"))) < count:
            time.sleep(0.05)
        do()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def lost_in_the_middle(crew, kill) -> dict[str, object]:
    """Kill a machine once two trials are at work, which go on until then; what came of the trials."""
    from scripted import Scripted

    left = [kill]

    def until_it_is_lost(number: int, epoch: int) -> bool:
        if left and source.running == 2:
            left.pop()()
        return not left

    source = Scripted(6, until_it_is_lost)
    source.todo = [replace(job, recipe=replace(job.recipe, epochs=10_000)) for job in source.todo]
    crew.work(source)
    return {"done": sorted(source.done), "lost": source.lost}


def main(model: str, manifest: str, images: str, answers: str) -> None:
    os.environ.update(PATIENT)
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray-")  # its paths must be short; others may run this, too
    os.environ["HOME"] = answers
    own = {
        "WHATSIT_CACHE": "cache",
        "KERAS_HOME": "keras",
        "XDG_CONFIG_HOME": "config",
        "XDG_CACHE_HOME": "xdg",
    }  # not Ray's
    os.environ.update({name: str(Path(answers, folder)) for name, folder in own.items()})
    os.chdir(answers)  # not where the actors are
    loopback_up()
    faulthandler.dump_traceback_later(900, exit=True)  # what hangs says where
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import psutil
    import ray
    from ray.cluster_utils import Cluster
    from scripted import QUICK_TRIALS, QuickActor, Scripted, once, trial_data  # beside this script

    from whatsit.images.audit import audit_cache
    from whatsit.images.manifest import Manifest
    from whatsit.images.manifest_data import ManifestStore
    from whatsit.images.places import open_place
    from whatsit.images.workers import SharedWork
    from whatsit.scale.ray_trials import RayCrew
    from whatsit.scale.supervise import WorkerError
    from whatsit.scale.workers import ShardWorkers
    from whatsit.verbs.predict_shards import predict_shards

    results: dict[str, object] = {}
    cluster = Cluster(initialize_head=True, head_node_args=HEAD)
    ray.init(cluster.address, log_to_driver=False)  # by the first machine's raylet, as the others will go
    lost = cluster.add_node(**MACHINE)

    def run(name: str, do=None, after: int = 2) -> None:
        place = Path(answers, name)
        place.mkdir()
        if do:
            when(place, after, do)
        began = time.perf_counter()
        summary = predict_shards(model, os.path.relpath(manifest), os.path.relpath(place), ray=cluster.address)
        results[name] = {
            "parts": contents(place),
            "complete": summary.complete,
            "seconds": round(time.perf_counter() - began, 1),
        }

    def workers() -> list[psutil.Process]:
        return [one for one in psutil.process_iter(["cmdline"]) if "ray::Worker" in " ".join(one.info["cmdline"] or ())]

    def trial_processes() -> list[psutil.Process]:
        return [one for one in psutil.process_iter(["cmdline"]) if QUICK_TRIALS in (one.info["cmdline"] or ())]

    def all_of(node, number: int) -> None:
        """Send a signal to every process of a machine."""
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        for one in (raylet, *raylet.children(recursive=True)):
            one.send_signal(number)

    run("undisturbed")
    run("worker killed", lambda: workers()[0].send_signal(signal.SIGKILL))
    run("machine lost", lambda: all_of(lost, signal.SIGKILL))
    frozen = cluster.add_node(**MACHINE)
    run("machine frozen", lambda: all_of(frozen, signal.SIGSTOP))
    store = ManifestStore(Manifest(open_place(manifest)))
    found: dict[int, str] = {}
    measuring = SharedWork("measure", {}, b"", audit_cache(Path(answers)).width)

    def take(places, handled) -> None:
        found.update((place, f"{one.digest.hex()} {len(one.data)}") for place, one in zip(places, handled, strict=True))

    ShardWorkers(store, cluster.address, None).handle(measuring, [*store.rows], take)
    results["measured"] = [found[place] for place in range(len(store.rows))]
    with unittest.mock.patch("whatsit.scale.ray_actors.__version__", "9.9.9"):
        try:
            predict_shards(model, manifest, Path(answers, "other"), ray=cluster.address)
        except WorkerError as error:
            results["other version"] = str(error)
    source = Scripted(1)
    RayCrew(cluster.address, trial_data(Path(images))).work(source)
    results["trial"] = source.done[0].loss
    with unittest.mock.patch("whatsit.scale.ray_trials.TrialActor", QuickActor):
        source = Scripted(2, once(lambda: trial_processes()[0].send_signal(signal.SIGKILL)))
        RayCrew(cluster.address, trial_data(Path(images))).work(source)
        results["trial's process killed"] = {"done": sorted(source.done), "lost": source.lost}
        second = cluster.add_node(**MACHINE)
        crew = RayCrew(cluster.address, trial_data(Path(images)))
        results["trial's machine lost"] = lost_in_the_middle(crew, lambda: all_of(second, signal.SIGKILL))
    results["left in home"] = sorted(path.name for path in Path(answers).glob(".*"))
    said.write(json.dumps(results))
    said.close()
    shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)
    os._exit(0)  # what is frozen dies with this namespace


if __name__ == "__main__":
    main(*sys.argv[1:])
