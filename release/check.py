"""Builds the wheel, and tries it with each extra in an empty environment.

    python release/check.py [EXTRA...]

In each environment the first commands of a user run, away from the source. Beside the wheel, `dist/` gets an SBOM (CycloneDX)
and the licences of all that `whatsit[all]` brings along. Exit code 1 where something fails.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
SECONDS = 600  # that a command may take

# What is tried with each extra, in a folder with pictures in `photos/`, one of them as `one.png`, and a model in `run/`.
COMMANDS: dict[str, list[str]] = {
    "": ["whatsit --help", "whatsit checks", "whatsit predict run one.png", "whatsit predict run photos --csv answers.csv"],
    "train": [
        "whatsit demo --out demo", "whatsit train photos --out trained --set size=64", "whatsit evaluate trained photos",
        "whatsit check trained", "whatsit explain trained one.png -o why.png", "whatsit verify trained",
        "whatsit export trained --format onnx,openvino --out formats",
    ],
    "app": ["serve: whatsit app run --no-browser --port {port}"],
    "gradio": ["serve: whatsit gradio run --port {port}"],
    "serve": ["serve: whatsit serve run --port {port}"],
    "heic": [
        "python -c \"from PIL import Image; import pillow_heif as p; p.from_pillow(Image.open('one.png')).save('one.heic')\"",
        "whatsit predict run one.heic",
    ],
    "export": ["whatsit export run --format tflite,h5 --out formats"],
    "coreml": ["whatsit export run --format coreml --out formats"],
    "browser": ["python -c \"import playwright.sync_api\"", "whatsit predict run one.png"],
    "tune": ["whatsit tune photos --trials 1 --set size=64 --no-report --out study"],
    "track": ["whatsit track run"],
    "notebooks": ["jupyter lab --version"],
    "scale": ["whatsit shard photos --out lists", "whatsit predict run lists --out answers", "whatsit answers answers"],
    "cloud": ["python -c \"import obstore\"", "whatsit shard photos --out lists"],
    "ray": ["python -c \"import whatsit.scale.ray_actors, ray\""],
    "all": ["whatsit demo --out demo", "whatsit checks"],
}  # fmt: skip


def run(command: Sequence[str | Path], **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command and return what it printed; its errors are this process's."""
    return subprocess.run([*map(str, command)], check=True, text=True, timeout=SECONDS, **options)  # type: ignore[call-overload, no-any-return]


def build() -> Path:
    """Build the source archive, and the wheel from that; return the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(["uv", "build", "--quiet", "--out-dir", DIST, ROOT])
    [wheel] = DIST.glob("*.whl")
    return wheel


def extras() -> list[str]:
    """Return the extras that users install; those that only others are made of are left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return ["", *(name for name in project["optional-dependencies"] if name not in ("dev", "train-base", "train-gpu"))]


def install(wheel: Path, extra: str, place: Path) -> Path:
    """Install the wheel into a new environment; return the folder of its commands."""
    run(["uv", "venv", "--quiet", "--python", sys.executable, place])
    wanted = f"whatsit[{extra}] @ {wheel.as_uri()}" if extra else f"whatsit @ {wheel.as_uri()}"
    constraints = ["--constraint", ROOT / "constraints.txt"]
    run(["uv", "pip", "install", "--quiet", "--python", place / "bin" / "python", *constraints, wanted])
    return place / "bin"


def draw(place: Path) -> None:
    """Draw pictures of two classes."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for label, colour in (("red", (220, 40, 40)), ("blue", (40, 40, 220))):
        (place / "photos" / label).mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(np.array(colour) + rng.normal(0, 30, (64, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / "photos" / label / f"{number}.png")
    shutil.copy(place / "photos" / "red" / "0.png", place / "one.png")


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def perform(command: str, place: Path, binaries: Path) -> None:
    """Run a command of the list in a folder. Raises `subprocess.SubprocessError`, `OSError`."""
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "WHATSIT_CACHE": str(place / "cache")}
    environment.pop("PYTHONPATH", None)
    shell, serves = command.removeprefix("serve: "), command.startswith("serve: ")
    if not serves:
        run(["sh", "-c", shell], cwd=place, env=environment, capture_output=True)
        return
    port = free_port()
    server = subprocess.Popen(shell.format(port=port).split(), cwd=place, env=environment, stderr=subprocess.PIPE)
    try:
        for _ in range(SECONDS):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                    page.read()
                return
            except OSError:
                if server.poll() is not None:
                    words = server.stderr.read().decode() if server.stderr else ""
                    raise subprocess.CalledProcessError(server.returncode, shell, stderr=words) from None
                time.sleep(0.2)
        raise subprocess.TimeoutExpired(shell, SECONDS)
    finally:
        server.terminate()
        server.wait(30)


def try_extra(wheel: Path, extra: str, ready: Path) -> dict[str, object]:
    """Install an extra, run its commands, and return a row of the table."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(shutil.copytree(ready, Path(folder) / "work"))
        binaries = install(wheel, extra, Path(folder) / "environment")
        size = sum(file.stat().st_size for file in binaries.parent.rglob("*") if file.is_file())
        failed = {}
        for command in COMMANDS[extra]:
            try:
                perform(command, place, binaries)
            except (subprocess.SubprocessError, OSError) as error:
                failed[command] = f"{error}\n{getattr(error, 'stderr', '')}"[-2000:]
    seconds = round(time.perf_counter() - started, 1)
    return {"extra": extra, "megabytes": round(size / 1e6), "seconds": seconds, "failed": failed}


def write_bill(wheel: Path) -> None:
    """Write the SBOM and the licences of all that `whatsit[all]` brings along."""
    with tempfile.TemporaryDirectory() as folder:
        python = install(wheel, "all", Path(folder) / "environment") / "python"
        bill = ["--output-reproducible", "--of", "JSON", "-o", DIST / "sbom.cdx.json"]
        run([sys.executable, "-m", "cyclonedx_py", "environment", *bill, python])
        found = run(
            [Path(sys.executable).with_name("pip-licenses"), "--python", python, "--format", "markdown", "--with-urls"],
            capture_output=True,
        )
    (DIST / "licences.md").write_text(f"# Licences of what comes with whatsit[all]\n\n{found.stdout}", encoding="utf-8")


def main() -> None:
    """Try what is asked for, print a table, and say what failed."""
    wheel, wanted = build(), sys.argv[1:] or extras()
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        ready.mkdir()
        draw(ready)
        trainer = install(wheel, "train", Path(folder) / "environment")
        perform("whatsit train photos --out run --no-report", ready, trainer)
        rows = []
        for extra in wanted:
            rows.append(row := try_extra(wheel, extra, ready))
            state = "ok" if not row["failed"] else f"FAILED: {', '.join(row['failed'])}"  # type: ignore[arg-type]
            print(f"{extra or '(none)':10s} {row['megabytes']:>6} MB {row['seconds']:>7} s  {state}", flush=True)
    write_bill(wheel)
    (DIST / "release-check.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        for command, words in row["failed"].items():  # type: ignore[attr-defined]
            print(f"\n{row['extra'] or '(none)'}: {command}\n{words}", file=sys.stderr)
    sys.exit(any(row["failed"] for row in rows))


if __name__ == "__main__":
    main()
