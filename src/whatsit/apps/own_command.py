"""Commands of whatsit that an app has run in a process of their own."""

from __future__ import annotations

import subprocess
import sys

from whatsit.errors import WhatsitError


class CommandError(WhatsitError):
    """A command of whatsit failed; the message is its own."""


def run_command(name: str, *arguments: str) -> str:
    """Run a command, and return what it prints. Raises `CommandError`."""
    # -P: nothing is imported from the folder that the user happens to be in.
    command = [sys.executable, "-P", "-m", "whatsit.apps.cli", name, *arguments]
    done = subprocess.run(  # noqa: S603 - our own
        command, capture_output=True, encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"whatsit {name} ended with exit code {done.returncode}"]
        raise CommandError(lines[-1].removeprefix("whatsit: "))
    return done.stdout
