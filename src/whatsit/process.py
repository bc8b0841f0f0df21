"""Behaviour as a guest in another program or notebook, or in a process of its own.

A guest leaves the environment, warnings filters and standard streams as they are. In its own process, that of a command line or
a service, what libraries print and warn is silenced.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

_OWN = threading.Event()  # set in a process of whatsit's own
_SILENCE = threading.RLock()  # without it, two threads could leave a descriptor silent for good
_KEPT: weakref.WeakSet[Any] = weakref.WeakSet()


def own_process() -> None:
    """Declare this process whatsit's own, where a command line or a service begins."""
    _OWN.set()
    # Pillow warns at a size below what `images/decode.py` refuses, and of damaged metadata, which do not matter to the pixels.
    for category in (RuntimeWarning, UserWarning):
        warnings.filterwarnings("ignore", category=category, module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # or Python would print it, as nobody has set up logging


@contextmanager
def silent_descriptor(number: int) -> Iterator[None]:
    """Drop what C++ code prints on a descriptor, in a process of whatsit's own.

    TensorFlow prints on stderr at any log level; errors come as exceptions. Only one thread at a time is within; it may enter
    again.
    """
    if not _OWN.is_set():
        yield
        return
    with _SILENCE, _silent(number):
        yield


@contextmanager
def _silent(number: int) -> Iterator[None]:
    try:
        kept = os.dup(number)
    except OSError:  # it is closed, so nothing shows anyway
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def environment(values: Mapping[str, str], *, always: bool = False) -> Iterator[None]:
    """Set environment variables for a while; the user's values stay, unless `always`."""
    before = {name: os.environ.get(name) for name in values}
    for name, value in values.items():
        if always or before[name] is None:
            os.environ[name] = value
    try:
        yield
    finally:
        for name, former in before.items():
            if former is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = former


def unwarned(read: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Repeat a function without warnings where one, made an error, stopped it.

    For what Pillow warns of, metadata and sizes that do not matter here. The function must not catch `Warning`.
    """

    @functools.wraps(read)
    def without_warnings(*given: _Given.args, **named: _Given.kwargs) -> _Result:
        try:
            return read(*given, **named)
        except Warning:
            with warnings.catch_warnings():  # for all threads, so only where somebody made warnings errors
                warnings.simplefilter("ignore")
                return read(*given, **named)

    return without_warnings


def keep_after_fork(item: Any) -> None:
    """Never free an object in a forked process: it would wait for threads for ever."""
    _KEPT.add(item)


def _keep_all() -> None:
    for item in tuple(_KEPT):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(item))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_all)


CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # of a container (cgroup v2): microseconds, and of how many


_SHARE: list[int] = []  # the number of processors of this process, where others work beside it


def take_processors(count: int) -> None:
    """Use at most this number of processors in this process from now on."""
    _SHARE[:] = [count]


def taken_processors() -> int | None:
    """Return what `take_processors` was given, or None."""
    return _SHARE[0] if _SHARE else None


def processors() -> int:
    """Return the number of processors that this process may use.

    A container may be given fewer than the machine has, and a process beside others (`take_processors`) fewer still.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, granted_processors() or count)


def granted_processors() -> int | None:
    """Return the number of processors that this process is limited to.

    A container and `take_processors` limit it; None where nothing does.
    """
    limits = [*_SHARE, *filter(None, [container_processors()])]
    return min(limits) if limits else None


def container_processors() -> int | None:
    """Return the number of processors that a container is given, at least 1.

    None where nothing limits it.
    """
    try:
        quota, period = CPU_LIMIT.read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):  # no container, or no limit ("max")
        return None


class Stopped(BaseException):
    """The system asked for an end, or Ctrl-C was pressed.

    Not `KeyboardInterrupt`, which libraries answer in their own ways.
    """


class Interrupted(Stopped):
    """Ctrl-C was pressed on the command line."""

    def __init__(self, listen: Callable[[], None]) -> None:
        """Take what makes Ctrl-C count again.

        Further ones are ignored while the process ends.
        """
        super().__init__()
        self._listen = listen

    def handled(self) -> None:
        """Say that the work continues in another way, so that Ctrl-C counts again."""
        self._listen()


def continue_after(interrupt: KeyboardInterrupt | Interrupted) -> None:
    """Let Ctrl-C count again, where an interrupt is handled."""
    if isinstance(interrupt, Interrupted):
        interrupt.handled()
