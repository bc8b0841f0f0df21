"""The command about this machine: checks."""

from __future__ import annotations

import sys

from whatsit.apps.cli.options import Json
from whatsit.apps.cli.output import print_json
from whatsit.apps.terminal import TerminalReporter, out


def checks(as_json: Json = False) -> None:
    """Show what this machine has, to paste into a report of a fault.

    Versions, processor, runtimes, places, browser. The exit code is 1 where something is broken.
    """
    from whatsit.verbs.checks import checks

    with TerminalReporter() as reporter:
        found = checks(reporter)
    if as_json:
        print_json([vars(one) for one in found])
    else:
        width = max(len(one.name) for one in found)
        for one in found:
            mark = "!!" if one.fault else "--" if one.missing else "ok"
            out(f"{mark}  {one.name:<{width}}  {one.found}")
            if one.fault:
                out(f"    {'':<{width}}  {one.fault}")
        faults = sum(bool(one.fault) for one in found)
        out()
        out(
            f"{faults} found to be broken (!!)" if faults else "Nothing is broken; -- is not installed, and need not be"
        )
    if any(one.fault for one in found):
        sys.exit(1)
