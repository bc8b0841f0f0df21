"""How many connections fit below the system's limit of open files, of which each is one."""

from __future__ import annotations

import os
from dataclasses import dataclass

LATECOMERS = 100  # connections beyond the most that still hear why they are refused
BACKLOG = 2048  # connections that wait until they are accepted, which happens to all of them at once
_SPARE = 32  # files for models that are opened anew, and the log


@dataclass(frozen=True)
class Room:
    """Connections that are served, those that hear a refusal, and those that the system lets wait."""

    connections: int
    latecomers: int = LATECOMERS
    backlog: int = BACKLOG


def make_room(connections: int) -> Room:
    """Raise the limit of open files as far as the system lets everybody; return what fits below it.

    Where too many connections are open the next one is not accepted, and reset or left waiting; below the limit it hears 503.
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
    """Return the room that so many more open files give."""
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
