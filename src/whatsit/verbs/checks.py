"""`whatsit checks`: what this machine has, for a report of a fault."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from whatsit.evaluation.machine import NEEDED, PARTS, Check, browser, font, machine, package, places
from whatsit.events import SILENT, Reporter
from whatsit.process import processors


def checks(reporter: Reporter = SILENT) -> list[Check]:
    """Return what this machine has: versions, processor, runtimes, places, browser.

    Args:
        reporter: gets progress.

    Returns:
        A `Check` for each part, with what was found and whether it works.
    """
    parts, found = (*NEEDED, *PARTS), []
    advance = reporter.stage("Looking at the packages")
    with ThreadPoolExecutor(processors()) as pool:
        for check in pool.map(lambda part: package(*part), parts):
            found.append(check)
            advance(len(found), len(parts))
    return [*machine(), *found, *places(), browser(), font()]
