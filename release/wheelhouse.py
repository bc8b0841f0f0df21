"""Gathers whatsit and all that it needs in a zip, for machines without a network.

    python release/wheelhouse.py [EXTRA]

The extra is `all` by default. The zip is for this kind of system and this version of Python. It is tried at once: unpacked,
installed in an empty environment with the index switched off (and, where the system allows it, without a network), and
`whatsit demo` runs there.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
READ_ME = """\
whatsit {version}, with all that it needs: {system}, Python {python}.
Unpack this zip, and in its folder:

    python -m venv whatsit-environment
    {activate}
    python -m pip install --no-index --find-links . "whatsit[{extra}]"
    whatsit demo
"""


def gather(extra: str, place: Path) -> str:
    """Build or download every wheel into a folder; return whatsit's version."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    wanted = f"{ROOT}[{extra}]" if extra else str(ROOT)
    subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", "--wheel-dir", place, wanted], check=True)
    [own] = place.glob("whatsit-*.whl")
    return own.name.split("-")[1]


def pack(extra: str) -> Path:
    """Write the zip into `dist/` and return its path."""
    DIST.mkdir(exist_ok=True)
    system, python = sysconfig.get_platform(), f"{sys.version_info.major}.{sys.version_info.minor}"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "wheels"
        version = gather(extra, place)
        windows = platform.system() == "Windows"
        activate = r"whatsit-environment\Scripts\activate" if windows else ". whatsit-environment/bin/activate"
        words = READ_ME.format(version=version, system=system, python=python, activate=activate, extra=extra)
        (place / "READ-ME.txt").write_text(words, encoding="utf-8")
        path = DIST / f"whatsit-{version}-{extra}-{system}-python{python}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(place.iterdir()):
                archive.write(file, file.name)
    return path


def try_out(path: Path, extra: str) -> None:
    """Install from the zip as a user does, with nothing else to install from. Raises `CalledProcessError`."""
    alone = ["unshare", "--net"] if shutil.which("unshare") else []
    if alone and subprocess.run([*alone, "true"], capture_output=True).returncode:
        alone = []
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        subprocess.run([sys.executable, "-m", "venv", f"{folder}/environment"], check=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON"))}
        clean |= {"PIP_CONFIG_FILE": os.devnull, "WHATSIT_CACHE": f"{folder}/cache"}
        python = f"{folder}/environment/bin/python"
        install = [python, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", ".", f"whatsit[{extra}]"]
        subprocess.run([*alone, *install], cwd=folder, env=clean, check=True)
        subprocess.run([*alone, python, "-m", "whatsit", "demo", "--out", "demo"], cwd=folder, env=clean, check=True)


def main() -> None:
    """Pack, try, and say where the zip is."""
    extra = sys.argv[1] if len(sys.argv) > 1 else "all"
    path = pack(extra)
    try_out(path, extra)
    print(f"{path}: {path.stat().st_size / 1e6:.0f} MB, installed and tried without an index")


if __name__ == "__main__":
    main()
