"""Time and peak memory of a command, as the operating system reports them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

WHATSIT = [sys.executable, "-m", "whatsit.apps.cli"]


@dataclass(frozen=True)
class Finished:
    """What a process said and cost."""

    stdout: str
    seconds: float
    peak_mb: float


def run(command: list[str], **environment: str) -> Finished:
    """Run to the end; an error ends the benchmark."""
    with tempfile.TemporaryFile("w+") as out:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env={**os.environ, **environment})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        if process.returncode:
            sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
        out.seek(0)
        return Finished(out.read(), seconds, usage.ru_maxrss / 1024)


def run_cold(arguments: list[str], folder: Path) -> Finished:
    """`whatsit ...` with an empty cache of its own below `folder`."""
    return run([*WHATSIT, *arguments], WHATSIT_CACHE=tempfile.mkdtemp(dir=folder))
