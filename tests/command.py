"""The command line, run in the tests' own process: a process of its own would load TensorFlow once more for every test."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from whatsit.apps import cli

_ENDINGS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def whatsit(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `whatsit ARGUMENTS` from beginning to end, less what only a process has: signals, pipes, C libraries' words."""
    words = ["whatsit", *map(str, arguments)]
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    code = 0
    with (
        mock.patch.object(sys, "argv", words),
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
        _signals_as_they_were(),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
    out, err = (stream.buffer.getvalue().decode("utf-8") for stream in streams)  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(words, code, out, err)


def whatsit_alone(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `whatsit ARGUMENTS` in a process of its own."""
    command = [sys.executable, "-m", "whatsit.apps.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, env=dict(os.environ))


@contextlib.contextmanager
def _signals_as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
