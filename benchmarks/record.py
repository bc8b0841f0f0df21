"""Keep what a benchmark measured as JSON, beside what it was measured on.

This is `--record FILE` of the scripts here. `python docs/figures.py` makes the page of figures of the files in
`benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TIMELESS = "--without-times"
TIMES = (
    "s",
    "ms",
    "answers/s",
    "pictures/s",
    "times",
    "core-hours",
    "dollars",
)  # units of what depends on how busy the machine is
PACKAGES = ("whatsit", "numpy", "onnxruntime", "openvino", "tensorflow-cpu", "tensorflow", "keras")


@dataclass(frozen=True)
class Figure:
    """A number with its unit.

    Where there are several measurements, with the lowest and the highest.
    """

    what: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    note: str = ""  # such as "95 % interval", or of how many measurements


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record", type=Path, metavar="FILE", help="keep the figures as JSON, for docs/figures.py")
    parser.add_argument(TIMELESS, action="store_true", help="keep no times, as others use this machine, too")


def save(path: Path | None, title: str, figures: Sequence[Figure]) -> None:
    """Write the figures, where a file is named."""
    if path is None:
        return
    found = {
        "title": title,
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_arguments()]),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "versions": {"python": sys.version.split()[0], **_versions()},
        "figures": [asdict(one) for one in figures if not (TIMELESS in sys.argv and one.unit in TIMES)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> dict[str, object]:
    """Return the processor, and how busy it was in the last five minutes."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    wide = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if f" {name}" in flags]
    return {
        "processor": models[0] if models else "unknown",
        "instructions": wide,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[1], 1),
    }


def _arguments() -> list[str]:
    """The arguments without `--record`, and without this machine's paths."""
    names = [Path(one).name if "/" in one else one for one in sys.argv[1:]]
    place = names.index("--record")
    return names[:place] + names[place + 2 :]


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
