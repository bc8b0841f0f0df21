"""The former name of `whatsit.events`."""

from whatsit.events import SILENT, Printing, Reporter

__all__ = ["SILENT", "Printing", "Reporter"]
