"""The child of `whatsit.scale`, which some images kill or hold up."""

from __future__ import annotations

import os
import signal
import time

from whatsit.images.locate import Reader
from whatsit.scale import child

plain = Reader.read


def read(self, row):
    if "poison" in row.name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "exit" in row.name:
        os._exit(7)
    if "hang" in row.name:
        time.sleep(3600)
    return plain(self, row)


Reader.read = read
child.main()
