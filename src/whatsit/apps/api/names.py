"""The names and the path under which a service answers.

Names are checked against DNS rebinding; the path is where a proxy serves it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable

from whatsit.apps.address import LOCAL, is_private, numeric
from whatsit.errors import UsageError

# Reserved for one's own computer (RFC 6761) or one's own network (ICANN, 2024): Docker and Podman call the computer
# `host.docker.internal` and `host.containers.internal`. Nobody can register them for a page.
# A name without a dot is one of the own network too: a container's, a line in /etc/hosts.
_RESERVED = (".localhost", ".internal")
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]*))(?::\d*)?")
_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_OWN = ("v1", "v2", "livez", "readyz", "metrics", "openapi.json", "page.js", "Sarabun.ttf")
_MOST = 1000  # hosts that are cached


class Names:
    """The names under which a service answers.

    A stranger can let the name of a page point to this computer (DNS rebinding); the browser then takes what is served here for
    the page's own. Such a request names the stranger in `Host`. An IP address cannot be had so.
    """

    def __init__(self, host: str, allowed: Iterable[str] = ()) -> None:
        """Make the names.

        Args:
            host: what the service is bound to.
            allowed: names such as `pets.example` or `*.example`, or `*` for all.
        """
        self._allowed = [plain_name(name) for name in allowed]
        own = {"localhost", *_of_this_computer()}
        if numeric(host) is None:
            own.add(plain_name(host))
        self._own = own
        self._known: set[bytes] = {b""}  # what is no browser may send none

    def has(self, header: bytes) -> bool:
        """Return whether a request's `Host` names this service."""
        if header in self._known:
            return True
        if not self._is_own(header.decode("latin-1")):
            return False
        if len(self._known) < _MOST and len(header) < 256:
            self._known.add(header)
        return True

    def _is_own(self, text: str) -> bool:
        name = plain_name(text)
        if not _NAME.fullmatch(name) and numeric(name) is None:
            return False
        if "*" in self._allowed or numeric(name) is not None:
            return True
        if name in self._own or "." not in name or name.endswith(_RESERVED):
            return True
        return any(name == one or (one.startswith("*.") and name.endswith(one[1:])) for one in self._allowed)


def names_of(host: str | None, allowed: Iterable[str], *, keys: bool) -> Names | None:
    """Return the names to be checked; None where every name is taken.

    Without `--allow-host` they are checked where only this computer reaches the service and no key is asked for: what is bound
    to a network is reached under names that nobody here can know (a container's, a proxy's), and a stranger's page has no key.
    """
    allowed = tuple(allowed)
    if not allowed and (host is None or keys or not is_private(host)):
        return None
    return Names(host or LOCAL, allowed)


def plain_name(text: str) -> str:
    """Return a host without its port, its case and the dot at its end."""
    text = text.strip().lower()
    if found := _HOST.fullmatch(text):
        text = found[1] or found[2]
    return text.rstrip(".")


def read_allowed(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of `--allow-host`. Raises `UsageError` for what cannot be one."""
    found = []
    for name in names:
        plain = _in_ascii(plain_name(name))
        if plain != "*" and numeric(plain) is None and not _NAME.fullmatch(plain):
            raise UsageError(
                f"--allow-host {name[:100]}: this is no name of a host; it looks like pets.example, *.example or *"
            )
        found.append(plain)
    return tuple(found)


def read_root_path(text: str | None) -> str:
    """Return the path below which a proxy serves the service, such as `/pets`.

    It is empty for none. Raises `UsageError`.
    """
    path = "/" + (text or "").strip().strip("/")
    if path == "/":
        return ""
    if not _PATH.fullmatch(path) or any(part in (".", "..") for part in path.split("/")):
        raise UsageError(
            f"--root-path {text!r:.100}: this is no path; it looks like /pets, with a to z, digits and . _ ~ -"
        )
    if path.split("/")[1] in _OWN:
        raise UsageError(f"--root-path {path}: the service's own addresses begin so; take another, such as /pets")
    return path


def _in_ascii(name: str) -> str:
    """Return a name as a browser sends it, where it has letters beyond a to z."""
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return name


def _of_this_computer() -> set[str]:
    """Return the names that this computer has for itself."""
    try:
        name = plain_name(socket.gethostname())
    except (OSError, UnicodeError):
        return set()
    short = name.partition(".")[0]
    return {name, short, f"{short}.local"} - {"", ".local"}
