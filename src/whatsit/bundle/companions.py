"""The files beside an exported model, with which it is used without whatsit.

These are `labels.txt` (the classes, in the order of the probabilities), `preprocess.json` (how an image becomes pixels, and of
which model the export is), and for each runtime an example that uses nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whatsit.bundle.format import Bundle
from whatsit.errors import UsageError
from whatsit.graph.formats import Format
from whatsit.images.decode import RULES

LABELS = "labels.txt"
RULE = "preprocess.json"
READER = "read_picture.py"
_EXAMPLES = Path(__file__).parent / "examples"


def companions(bundle: Bundle) -> dict[str, str]:
    """Return the text files that accompany every export, by file name."""
    rule = json.dumps(preprocessing(bundle), ensure_ascii=False, indent=1)
    return {LABELS: "\n".join(bundle.classes) + "\n", RULE: rule + "\n"}


def write_companions(bundle: Bundle, target: Format, folder: Path) -> list[str]:
    """Write the companions of a format; return their names. Raises `OSError`."""
    texts = {name: text.encode() for name, text in companions(bundle).items()}
    texts |= {name: (_EXAMPLES / name).read_bytes() for name in _scripts(target)}
    for name, text in texts.items():
        (folder / name).write_bytes(text)
    return sorted(texts, key=lambda name: name != RULE)  # that one says whose folder it is


def require_own(bundle: Bundle, folder: Path, targets: Sequence[Format]) -> None:
    """Raise `UsageError` where exporting would replace another's files."""
    try:
        model = json.loads((folder / RULE).read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        model = None
    if model == fingerprint(bundle):
        return
    names = [RULE, LABELS, *(name for target in targets for name in (target.top, *_scripts(target)))]
    if there := next((name for name in names if os.path.lexists(folder / name)), None):
        what = "is there already, and whatsit did not write it" if model is None else "is of another model"
        raise UsageError(f"{folder / there} {what}; choose another folder with --out, or remove it first")


def _scripts(target: Format) -> tuple[str, ...]:
    return (READER, target.example) if target.example else ()


def fingerprint(bundle: Bundle) -> str:
    """Return the SHA-256 of the graph, which names a model."""
    return hashlib.sha256(bundle.graph).hexdigest()


def _filter(resize: str) -> str:
    if resize == RULES[-1]:
        return "Pillow's BILINEAR with weights of 15 bits, from which Pillow's own differs by 2 of 255 at most"
    return "Pillow's BILINEAR"


def preprocessing(bundle: Bundle) -> dict[str, Any]:
    """Return what `preprocess.json` says."""
    height, width, resize = bundle.input.height, bundle.input.width, bundle.input.resize
    shape = [None, height, width, 3]
    costs = {"costs": [list(row) for row in bundle.costs.matrix]} if bundle.costs else {}
    return {
        "model": fingerprint(bundle),
        "input": {"name": "image", "dtype": "uint8", "shape": shape, "channels": "RGB"},
        "output": {"name": "probabilities", "dtype": "float32", "shape": [None, len(bundle.classes)]},
        "size": [width, height],
        "resize": resize,
        "steps": [
            "Decode the first frame; an RGB or grey JPEG at least twice as large at 1/2, 1/4 or 1/8 (Pillow's draft).",
            "Lay transparent pictures on white; make palette, grey and CMYK pictures RGB; scale 16-bit samples to 8.",
            f"Stretch to the size (on its side if it will be turned), antialiased and bilinear ({_filter(resize)}).",
            *(["Turn the colours of a colour profile into sRGB."] if resize != RULES[0] else []),
            "Turn by the EXIF orientation.",
        ],
        **costs,
    }
