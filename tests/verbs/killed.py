"""`python -m tests.verbs.killed MOMENT RUN FOLDER STATE TABLE OUT URL`: a watch that kills itself at a moment."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import whatsit
from whatsit.runtime.sorting import Sorter
from whatsit.runtime.table import Table
from whatsit.runtime.watch_state import WatchState
from whatsit.runtime.webhook import Webhook

# Which call, of what; and whether the process ends before it or after it.
MOMENTS: dict[str, tuple[type, str, bool]] = {
    "before they are recorded": (WatchState, "record", False),
    "after they are recorded": (WatchState, "record", True),
    "after the first row": (Table, "add", True),
    "before they are sorted": (Sorter, "sort", False),
    "after they are sorted": (Sorter, "sort", True),
    "after all is written": (WatchState, "written", True),
    "after the first is posted": (Webhook, "post", True),
}


def killing(call: Callable[..., Any], after: bool) -> Callable[..., Any]:
    """A call that is the last one."""

    def killed(*given: Any, **named: Any) -> None:
        if after:
            call(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return killed


if __name__ == "__main__":
    moment, run, folder, state, table, out, url = sys.argv[1:]
    where, name, after = MOMENTS[moment]
    setattr(where, name, killing(getattr(where, name), after))
    options: dict[str, Any] = {"state": state, "table": table, "sort_into": out, "to": url, "existing": True}
    whatsit.watch(run, folder, settle=0.0, **options)
