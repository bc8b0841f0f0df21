"""A Ray cluster of two machines, which are lost in the middle."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.browser import free_port
from tests.conftest import ONE_OF_SEVERAL
from tests.scale.conftest import contents
from whatsit.run.record import Run
from whatsit.scale.ray_actors import RayActors
from whatsit.scale.supervise import Task, WorkerError
from whatsit.version import __version__

# Ray listens on all addresses, whatever it is told.
ALONE = ["unshare", "--net", "--pid", "--fork", "--mount-proc"]


@pytest.fixture(scope="module")
def results(
    baseline_run: Run, images: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    pytest.importorskip("ray", reason="Ray is not installed")
    if not shutil.which("unshare") or subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("no network of its own can be made here (unshare), and Ray listens on all addresses")
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if ONE_OF_SEVERAL else base) / "ray"
    with FileLock(place.with_suffix(".lock")):  # once for all processes of the tests
        if not (place / "results.json").exists():
            place.mkdir(exist_ok=True)
            command = [*ALONE, sys.executable, Path(__file__).with_name("ray_script.py")]
            done = subprocess.run(
                [*command, baseline_run.folder, manifest, images, place], capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr[-3000:]
            (place / "results.json").write_text(done.stdout)
    return json.loads((place / "results.json").read_text())


@pytest.mark.parametrize("name", ["undisturbed", "worker killed", "machine lost", "machine frozen"])
def test_answers_are_those_of_this_machine_to_the_byte(results: dict[str, Any], undisturbed: Path, name: str) -> None:
    wanted = {part: hashlib.sha256(data).hexdigest() for part, data in contents(undisturbed).items()}
    assert (results[name]["parts"], results[name]["complete"]) == (wanted, True)


def test_files_are_read_and_measured_on_the_cluster(results: dict[str, Any], images: Path) -> None:
    files = sorted(images.rglob("*.png"))
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    sizes = {line.split()[1] for line in results["measured"] if not line.startswith(" ")}
    wanted = [digest if path.name != "broken.png" else "" for path, digest in zip(files, digests, strict=True)]
    assert [line.split(" ")[0] for line in results["measured"]] == wanted
    assert len(sizes) == 1


def test_trial_is_made_on_the_cluster(results: dict[str, Any]) -> None:
    assert results["trial"] > 0


def test_trial_whose_process_dies_on_the_cluster_is_made_again(results: dict[str, Any]) -> None:
    found = results["trial's process killed"]
    assert found["done"] == [0, 1]
    [(_, why)] = found["lost"]
    assert "killed (signal 9)" in why


def test_trial_whose_machine_is_lost_is_made_again_without_blame(results: dict[str, Any]) -> None:
    found = results["trial's machine lost"]
    assert found["done"] == [0, 1, 2, 3, 4, 5]
    [(_, why)] = found["lost"]
    assert why == ""


def test_machines_with_another_version_are_refused(results: dict[str, Any]) -> None:
    assert f"a machine of the cluster has whatsit {__version__}, this one 9.9.9" in results["other version"]


def test_nothing_is_left_in_the_users_home(results: dict[str, Any]) -> None:
    assert results["left in home"] == []


def test_cluster_is_never_started() -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(WorkerError, match="joins a Ray cluster and starts none"):
        RayActors("local", Task("predict", {}, "."), b"")


def test_cluster_that_is_not_there_is_reported_at_once() -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(WorkerError, match=f"{address}: no Ray cluster can be joined there: .*refused"):
        RayActors(address, Task("predict", {}, "."), b"").answer([[]], lambda number, answers: None)
