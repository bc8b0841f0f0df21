"""The limit of connections that fits below the system's limit of open files."""

from __future__ import annotations

import os
from dataclasses import dataclass

LATECOMERS = 100  # connections beyond the limit that get a 503
BACKLOG = 2048  # connections that wait until they are accepted, which happens to all of them at once
_SPARE = 32  # files for models that are opened anew, and the log


@dataclass(frozen=True)
class Room:
    """The number of connections that are served, refused with a response, and queued."""

    connections: int
    latecomers: int = LATECOMERS
    backlog: int = BACKLOG


def make_room(connections: int) -> Room:
    """Raise the limit of open files as far as it may be; return the room below it.

    Beyond that limit the system resets the next connection or lets it wait; below it, it gets a 503.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return Room(connections)
    used = _open_files() + _SPARE
    needed = used + connections + LATECOMERS + BACKLOG
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):  # macOS names a limit that it does not grant
            pass
    return fit(connections, soft - used if soft != resource.RLIM_INFINITY else needed)


def fit(connections: int, files: int) -> Room:
    """Return the room that a number of open files gives."""
    if files >= connections + LATECOMERS + BACKLOG:
        return Room(connections)
    files = max(files, 8)
    return Room(min(connections, files // 2), min(LATECOMERS, files // 8), min(BACKLOG, files // 4))


def _open_files() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))  # noqa: PTH208 - no paths are needed
        except OSError:
            continue
    return 64
