"""Read the names of a model's classes, in the order of its outputs."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whatsit.errors import UsageError
from whatsit.images.names import label_fault, plain

MAX_BYTES = 1 << 20
MOST = 50_000  # classes


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the names in a file, in order.

    A text file has a name in each line; numbers in front that count the lines are left out, as Teachable Machine writes them.
    A JSON file has a list, a table from numbers to names, or such a table as `id2label` (Hugging Face). Raises `UsageError`.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path}: {path.stat().st_size:,} bytes are too many for labels; at most {MAX_BYTES:,}")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file of labels") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the labels cannot be read: {error}") from None
    if path.suffix.lower() != ".json":
        return checked(_without_numbers(text.strip("\r\n").splitlines()), str(path))
    try:
        return checked(_names_in(json.loads(text)), str(path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: the labels cannot be read: {error}") from None


def labels_in(metadata: str, where: str) -> tuple[str, ...]:
    """Return the names in a table such as `{0: 'cat', 1: 'dog'}`.

    Ultralytics writes such a one. Raises `UsageError`.
    """
    try:
        return checked(_names_in(ast.literal_eval(metadata[:MAX_BYTES])), where)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise UsageError(f"{where}: the names in it cannot be read ({type(error).__name__}); give --labels") from None


def checked(names: Sequence[Any], where: str) -> tuple[str, ...]:
    """Return names that classes may have. Raises `UsageError`; `where` is named in it."""
    found = [str(name).strip() for name in names]
    if not 2 <= len(found) <= MOST:
        raise UsageError(f"{where}: {len(found):,} labels, where 2 to {MOST:,} are taken")
    for place, name in enumerate(found, 1):
        if fault := label_fault(name):
            raise UsageError(f"{where}: label {place} {fault}")
        if name in found[: place - 1]:
            raise UsageError(f"{where}: label {place}, '{plain(name)}', is there twice")
    return tuple(found)


def _names_in(value: Any) -> list[Any]:
    """Return the names of a list, or of a table from numbers to names."""
    value = value.get("id2label", value) if isinstance(value, dict) else value
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise ValueError("neither a list nor a table of names")
    numbered = {int(number): name for number, name in value.items()}
    if sorted(numbered) != list(range(len(numbered))):
        raise ValueError("its numbers do not run from 0 without a gap")
    return [numbered[number] for number in range(len(numbered))]


def _without_numbers(lines: list[str]) -> list[str]:
    if all(line.split(" ", 1)[0] == str(number) and " " in line for number, line in enumerate(lines)):
        return [line.split(" ", 1)[1] for line in lines]
    return lines
