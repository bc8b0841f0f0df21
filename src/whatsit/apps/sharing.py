"""A model as a zip with its web page, to put online."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path

from whatsit.apps.own_command import run_command


def website_zip(model: Path) -> bytes:
    """Return a zip of the folder that `whatsit export --format web` writes.

    It is made by a process of its own: what writes graphs takes memory that an app should not keep. Raises `CommandError`.
    """
    with tempfile.TemporaryDirectory() as folder:
        [exported] = json.loads(run_command("export", "--format", "web", "--json", "--out", folder, "--", str(model)))
        return _zipped(Path(exported["file"]))


def _zipped(folder: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
    return file.getvalue()
