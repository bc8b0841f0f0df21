"""Start and end of a command line: signals, streams, errors and exit codes."""

from __future__ import annotations

import io
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from whatsit.apps.terminal import err
from whatsit.errors import UsageError, WhatsitError
from whatsit.files import NO_ROOM, disk_error
from whatsit.process import Interrupted, Stopped

_WRONG_OPTIONS: Any = typer.BadParameter.__base__  # what the parser raises for whatever it cannot read
_ENDINGS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def run_guarded(app: Any) -> None:
    """Run a Typer application; every error becomes one line and an exit code."""
    _prepare()
    try:
        app(prog_name="whatsit", standalone_mode=False)
    except _WRONG_OPTIONS as error:
        _refuse(error)
    except UsageError as error:
        _fail(error, 2)
    except WhatsitError as error:
        _fail(_with_notes(str(error), error), 1)
    except Stopped as stopped:
        _fail(_with_notes("stopped", stopped, "nothing half-written was left behind"), 1)
    except OSError as error:
        _fail(_with_notes(_of_the_system(error), error), 1)
    except RuntimeError as error:
        if not str(error).startswith("Symlink loop from"):  # of `Path.resolve`, before Python 3.13
            raise
        _fail(f"{str(error).removeprefix('Symlink loop from ')}: this link leads back to itself", 1)
    except MemoryError as error:
        advice = "there is not enough memory; try fewer pictures (--limit N) or a smaller size (--set size=...)"
        _fail(_with_notes(advice, error), 1)


def _of_the_system(error: OSError) -> str:
    if error.errno in NO_ROOM:
        return str(disk_error(Path(error.filename or tempfile.gettempdir()), error))
    return f"{error.filename or 'the system'}: {error.strerror or error}"


def _with_notes(message: str, error: BaseException, otherwise: str = "") -> str:
    """Return the message with the error's notes, such as how to resume."""
    return "; ".join([message, *(getattr(error, "__notes__", None) or filter(None, [otherwise]))])


def _prepare() -> None:
    # `nohup whatsit train ...` continues.
    _listen([number for number in _ENDINGS if signal.getsignal(number) != signal.SIG_IGN])
    for stream in (sys.stdout, sys.stderr):  # a file name may hold anything
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _listen(numbers: Sequence[int]) -> None:
    """End the process on these signals, with an exception."""

    def stop(number: int, _frame: object) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)  # cleaning up is not to be interrupted by a second, impatient one
        raise Interrupted(lambda: _listen(numbers)) if number == signal.SIGINT else Stopped

    for number in numbers:
        signal.signal(number, stop)


def _refuse(error: Any) -> None:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        sys.exit(2)
    command = f"whatsit {error.ctx.info_name}" if error.ctx and error.ctx.parent else "whatsit"
    _fail(f"{error.format_message()} (see: {command} --help)", 2)


def _fail(message: object, code: int) -> None:
    err(f"whatsit: {message}")
    sys.exit(code)
