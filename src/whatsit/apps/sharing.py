"""A model as a zip with its web page, to put online."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from whatsit.errors import WhatsitError


class SharingError(WhatsitError):
    """The web page of a model cannot be made; the message is that of `whatsit export`."""


def website_zip(model: Path) -> bytes:
    """Return a zip of the folder that `whatsit export --format web` writes.

    It is made by a process of its own: what writes graphs takes memory that an app should not keep. Raises `SharingError`.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-P",
            "-m",
            "whatsit.apps.cli",
            "export",
            "--format",
            "web",
            "--json",
            "--out",
            folder,
        ]
        command += ["--", str(model)]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)  # noqa: S603 - our own
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"whatsit export ended with exit code {done.returncode}"]
            raise SharingError(lines[-1].removeprefix("whatsit: "))
        [exported] = json.loads(done.stdout)
        return _zipped(Path(exported["file"]))


def _zipped(folder: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
    return file.getvalue()
