"""Copy the model files below a bucket's address into a folder: python copy_models.py s3://museum/models /models."""

import sys
from pathlib import Path

from obstore.store import from_url


def copy_models(source: str, folder: Path) -> list[str]:
    """Copy every `.whatsit` file with its path; return the paths."""
    store = from_url(source)
    paths = sorted(item["path"] for batch in store.list() for item in batch if item["path"].endswith(".whatsit"))
    for path in paths:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(store.get(path).bytes())
    return paths


if __name__ == "__main__":
    if not copy_models(sys.argv[1], Path(sys.argv[2])):
        sys.exit(f"{sys.argv[1]}: there is no .whatsit file")
