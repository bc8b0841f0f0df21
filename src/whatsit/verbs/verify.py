"""`whatsit verify`: does this model answer alike on every runtime of this machine?"""

from __future__ import annotations

from pathlib import Path

from whatsit.bundle.read import read_bundle
from whatsit.evaluation.parity import Parity, check_parity


def verify(model: str | Path) -> list[Parity]:
    """The parity proof on the bundle's golden pictures; every entry's `passed` must be true.

    Raises `BundleError` where the bundle cannot be read or holds no golden pictures.
    """
    return check_parity(read_bundle(model))
