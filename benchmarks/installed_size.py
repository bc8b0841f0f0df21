"""Size of `pip install whatsit` without extras in a fresh environment.

It also checks that this environment serves without TensorFlow.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder) / "bin" / "python"
        packages = next(Path(folder).glob("lib/python*/site-packages"))
        before = size(packages)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", root], check=True)
        print(f"installed: {(size(packages) - before) / 1e6:.0f} MB")
        parts = sorted(((size(path), path.name) for path in packages.iterdir() if path.is_dir()), reverse=True)
        print("largest:", ", ".join(f"{name} {count / 1e6:.0f} MB" for count, name in parts[:8]))
        subprocess.run([python, "-c", "import whatsit; whatsit.Predictor"], check=True)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
