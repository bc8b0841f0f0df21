"""Runs a module as its program, and writes down whatever it asks of other computers: `python -m tests.guard LOG MODULE ...`."""

from __future__ import annotations

import ipaddress
import os
import runpy
import socket
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# A company's proxy, which does not matter to addresses of this computer.
NO_WAY_OUT = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:9")


def guarded(log: Path, *command: object) -> tuple[list[object], dict[str, str]]:
    """Return a command with the guard before it, and the environment that it needs."""
    paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return ["tests.guard", log, *command], {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def main() -> None:
    """Look at each name that is asked for and each connection that is made, less those to this computer."""
    log = Path(sys.argv[1])
    log.write_text("")
    really = socket.getaddrinfo

    def note(what: str) -> None:
        with log.open("a") as file:
            file.write(f"{what}\n")

    def look_up(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:  # noqa: A002 - as it is called
        if host and not flags & socket.AI_NUMERICHOST and not _is_here(host):
            note(f"name {host}")
            raise OSError("the guard lets nothing out")
        return really(host, port, family, type, proto, flags)

    def listen(event: str, values: tuple[Any, ...]) -> None:
        if event not in ("socket.connect", "socket.sendto"):
            return
        opened, address = values
        sends = (
            event == "socket.sendto" or opened.type != socket.SOCK_DGRAM
        )  # to connect a datagram socket sends nothing
        if sends and isinstance(address, tuple) and not _is_here(address[0]):
            note(f"{event} {address}")
            raise OSError("the guard lets nothing out")

    socket.getaddrinfo = look_up
    sys.addaudithook(listen)
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _is_here(host: Any) -> bool:
    host = host.decode() if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in ("", "localhost")
    return address.is_loopback or address.is_unspecified


if __name__ == "__main__":
    main()
