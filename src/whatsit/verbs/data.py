"""Names that moved to `images/data.py`."""

from whatsit.images.data import open_data, require_classes, scan_data, split_data
from whatsit.images.data import report_data as tell_about
from whatsit.images.data import report_unreadable as tell_unreadable

__all__ = ["open_data", "require_classes", "scan_data", "split_data", "tell_about", "tell_unreadable"]
