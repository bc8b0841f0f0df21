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

from tests.scale.conftest import contents
from whatsit.run.record import Run
from whatsit.scale.ray_actors import RayActors
from whatsit.scale.supervise import Task, WorkerError

# Ray listens on all addresses, whatever it is told.
ALONE = ["unshare", "--net", "--pid", "--fork", "--mount-proc"]


@pytest.fixture(scope="module")
def results(baseline_run: Run, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    pytest.importorskip("ray", reason="Ray is not installed")
    if not shutil.which("unshare") or subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("no network of its own can be made here (unshare), and Ray listens on all addresses")
    place = tmp_path_factory.mktemp("ray")
    script = str(Path(__file__).with_name("ray_script.py"))
    done = subprocess.run(
        [*ALONE, sys.executable, script, baseline_run.folder, manifest, place], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["undisturbed", "worker killed", "machine lost", "machine frozen"])
def test_answers_are_those_of_this_machine_to_the_byte(results: dict[str, Any], undisturbed: Path, name: str) -> None:
    wanted = {part: hashlib.sha256(data).hexdigest() for part, data in contents(undisturbed).items()}
    assert (results[name]["parts"], results[name]["complete"]) == (wanted, True)


def test_nothing_is_left_in_the_users_home(results: dict[str, Any]) -> None:
    assert results["left in home"] == []


def test_cluster_is_never_started() -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(WorkerError, match="joins a Ray cluster and starts none"):
        RayActors("local", Task("predict", {}, "."), b"")
