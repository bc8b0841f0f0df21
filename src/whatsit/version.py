"""The version of whatsit, for every module: `whatsit` itself imports many of them."""

from __future__ import annotations

__version__ = "0.1.0"
