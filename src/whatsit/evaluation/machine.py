"""What this machine has: versions, processor, runtimes, places, browser."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from whatsit.cache import cache_folder, contents
from whatsit.evaluation.browser import find_chromium
from whatsit.process import processors
from whatsit.run_files import RUNS
from whatsit.version import __version__

# What each part of whatsit needs: the module to import, its package, and the extra that installs it.
NEEDED = (("numpy", "numpy", ""), ("PIL", "pillow", ""), ("onnxruntime", "onnxruntime", ""))
PARTS = (
    ("openvino", "openvino", "train"),
    ("tensorflow", "tensorflow-cpu", "train"),
    ("onnx", "onnx", "train"),
    ("sklearn", "scikit-learn", "train"),
    ("matplotlib", "matplotlib", "train"),
    ("ai_edge_litert.interpreter", "ai-edge-litert", "export"),
    ("h5py", "h5py", "export"),
    ("nncf", "nncf", "export"),
    ("coremltools", "coremltools", "coreml"),
    ("playwright.sync_api", "playwright", "browser"),
    ("mlflow", "mlflow", "track"),
    ("streamlit", "streamlit", "app"),
    ("gradio", "gradio", "gradio"),
    ("fastapi", "fastapi", "serve"),
    ("pillow_heif", "pillow-heif", "heic"),
    ("optuna", "optuna", "tune"),
    ("pyarrow", "pyarrow", "scale"),
    ("obstore", "obstore", "cloud"),
    ("ray", "ray", "ray"),
)
_FEATURES = (
    "sse4_1",
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_int8",
)
_LOW = 2 * 1024**3  # bytes of free disk, below which training may fail


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    found: str
    fault: str = ""  # what is wrong and what to do
    missing: bool = False  # it is not there, and need not be


def machine() -> Iterator[Check]:
    """Yield whatsit, Python, system, processor and memory."""
    yield Check("whatsit", __version__)
    yield Check("Python", f"{platform.python_version()} ({sys.executable})")
    yield Check("system", platform.platform())
    model, flags = _processor()
    features = " ".join(name for name in _FEATURES if name in flags)
    yield Check(
        "processor", f"{model or platform.machine()}, {processors()} to use{f': {features}' if features else ''}"
    )
    if memory := _memory():
        low = memory < 4e9
        fault = "training may need more than there is; close other programs, or train with --limit" if low else ""
        yield Check("memory", f"{memory / 1e9:.1f} GB", fault)


def _processor() -> tuple[str, set[str]]:
    """Return the processor's name and features, where the system says them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor(), set()
    name = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.+)$", text, re.MULTILINE)
    return (name[1] if name else ""), set(flags[1].split() if flags else ())


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def package(module: str, package: str, extra: str) -> Check:
    """Look for a package.

    It is imported in a process of its own, as a broken one may end it.
    """
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        how = f"pip install 'whatsit[{extra}]'" if extra else "install whatsit again"
        return Check(package, f"not installed ({how})", "" if extra else "whatsit cannot work without it", bool(extra))
    command = [sys.executable, "-P", "-c", f"import {module}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return Check(package, version, "importing it takes more than two minutes")
    if not done.returncode:
        return Check(package, version)
    lines = done.stderr.strip().splitlines()
    why = (
        f"signal {-done.returncode}" if done.returncode < 0 else lines[-1][:200] if lines else f"code {done.returncode}"
    )
    return Check(package, version, f"it cannot be imported ({why}); install it again, or another version")


def places() -> Iterator[Check]:
    """Yield the folders that whatsit writes into."""
    kept = sum(one.bytes for one in contents())
    yield _place("cache", cache_folder(), f", {kept / 1e6:,.0f} MB kept")
    yield _place("runs", Path(RUNS).absolute())
    yield _place("temporary files", Path(tempfile.gettempdir()))


def _place(name: str, folder: Path, more: str = "") -> Check:
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    found = f"{folder}, {free / 1e9:,.1f} GB free{more}"
    if not os.access(there, os.W_OK):
        return Check(name, found, "it cannot be written; choose another place, or change its rights")
    return Check(name, found, "the disk is nearly full; free some space" if free < _LOW else "")


def browser() -> Check:
    """Look for the browser that proves an exported page."""
    path = find_chromium()
    if not path:
        return Check("Chromium", "not found; only whatsit verify of a web page needs it", missing=True)
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        return Check("Chromium", path, f"it does not start ({type(error).__name__})")
    return Check("Chromium", f"{done.stdout.strip()[:60]} ({path})")


def font() -> Check:
    """Look for the font of plots and pages."""
    file = Path(__file__).parent.parent / "fonts" / "Sarabun-Regular.ttf"
    if file.is_file():
        return Check("Thai font", file.name)
    return Check("Thai font", "missing", "Thai names in plots will be empty boxes; install whatsit again")
