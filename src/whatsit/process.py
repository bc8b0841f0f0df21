"""How whatsit behaves in a process: as a guest in somebody's program or notebook, or at home in one of its own.

A guest leaves the environment, warnings filters and standard streams as they are. At home, where the command line or a
service is all there is, what libraries print and warn is silenced.
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
from typing import Any, ParamSpec, TypeVar

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

_AT_HOME = threading.Event()
_SILENCE = threading.RLock()  # two threads that take turns out of order would leave a descriptor silent for good
_KEPT: weakref.WeakSet[Any] = weakref.WeakSet()


def own_process() -> None:
    """Say that this process is whatsit's own: called where a command line or a service begins, nowhere else."""
    _AT_HOME.set()
    # Pillow warns at a size below what `images/decode.py` refuses, and of damaged metadata, which do not matter to the pixels.
    for category in (RuntimeWarning, UserWarning):
        warnings.filterwarnings("ignore", category=category, module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # or Python would print it, as nobody has set up logging


@contextmanager
def silent_descriptor(number: int) -> Iterator[None]:
    """Drop what C++ code prints on a descriptor, in a process of whatsit's own; errors come as exceptions.

    TensorFlow greets on stderr whatever its log level. Only one thread at a time is within; it may enter again.
    """
    if not _AT_HOME.is_set():
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
    """Set environment variables while a library reads them; what the user has set stays, unless `always`."""
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
    """Make a function indifferent to warnings that are errors in this process: where one stops it, it begins again.

    For what Pillow warns of, metadata and sizes that do not matter here. The function must let `Warning` pass.
    """

    @functools.wraps(read)
    def indifferent(*given: _Given.args, **named: _Given.kwargs) -> _Result:
        try:
            return read(*given, **named)
        except Warning:
            with warnings.catch_warnings():  # for all threads, so only where somebody made warnings errors
                warnings.simplefilter("ignore")
                return read(*given, **named)

    return indifferent


def keep_after_fork(item: Any) -> None:
    """Never free an object in a forked process: it would wait for threads that stayed in the parent, for ever."""
    _KEPT.add(item)


def _keep_all() -> None:
    for item in tuple(_KEPT):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(item))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_all)
