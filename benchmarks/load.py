"""Send requests over many connections and report the outcome as JSON.

Used by `benchmarks/service.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections import Counter
from pathlib import Path

import uvloop


class Connection:
    """One HTTP/1.1 connection that is kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> int:
        """The status of the answer; 0 where the connection broke."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            if b"\r\ncontent-length: " in lower:
                await reader.readexactly(int(lower.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]))
            if b"connection: close" in lower:
                self.close()
            return int(head[9:12])
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return 0

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None


def percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    values.sort()
    return {
        "p50": round(1000 * statistics.median(values), 2),
        "p99": round(1000 * values[min(len(values) - 1, int(0.99 * len(values)))], 2),
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("body", type=Path)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument(
        "--rate", type=float, help="requests a second of all clients together; as many as go by default"
    )
    options = parser.parse_args()
    body = options.body.read_bytes()
    head = [f"POST {options.path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *options.header]
    request = "\r\n".join([*head, "", ""]).encode() + body
    probe = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    found: list[tuple[int, float]] = []
    probes: list[float] = []
    began = time.perf_counter()
    ends = began + options.seconds

    async def client(number: int) -> None:
        connection = Connection(options.port)
        turn = number
        while time.perf_counter() < ends:
            if options.rate:
                wait = began + turn / options.rate - time.perf_counter()
                turn += options.clients
                if wait > 0:
                    await asyncio.sleep(wait)
            started = time.perf_counter()
            status = await connection.ask(request)
            found.append((status, time.perf_counter() - started))
        connection.close()

    async def look() -> None:
        connection = Connection(options.port)
        while time.perf_counter() < ends:
            started = time.perf_counter()
            await connection.ask(probe)
            probes.append(time.perf_counter() - started)
            await asyncio.sleep(0.1)
        connection.close()

    await asyncio.gather(look(), *(client(number) for number in range(options.clients)))
    seconds = time.perf_counter() - began
    good = [took for status, took in found if status == 200]
    print(
        json.dumps(
            {
                "rate": round(len(good) / seconds, 1),
                "asked": round(len(found) / seconds, 1),
                "statuses": dict(Counter(status for status, _ in found)),
                "good": percentiles(good),
                "rejected": percentiles([took for status, took in found if status != 200]),
                "livez": percentiles(probes),
            }
        )
    )


if __name__ == "__main__":
    uvloop.run(main())
