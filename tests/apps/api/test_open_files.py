"""More connections than the system's limit of open files."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.browser import free_port
from whatsit.apps.api.open_files import Room, fit
from whatsit.run.record import Run

resource = pytest.importorskip("resource")


@given(connections=st.integers(1, 5000), files=st.integers(8, 10_000))
@settings(max_examples=200, derandomize=True, database=None)
def test_all_that_may_be_open_at_once_fits(connections: int, files: int) -> None:
    room = fit(connections, files)
    assert room.connections + room.latecomers + room.backlog <= files or room == Room(connections)
    assert 1 <= room.connections <= connections
    assert room.backlog >= 1


def test_enough_files_change_nothing() -> None:
    assert fit(2000, 10_000) == Room(2000)


def test_no_files_leave_a_few_connections() -> None:
    assert fit(2000, -5) == Room(4, 1, 2)


def test_every_connection_beyond_the_limit_of_open_files_gets_an_answer(baseline_run: Run) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))

    port = free_port()
    command = [sys.executable, "-m", "whatsit.apps.cli", "serve", str(baseline_run.folder), "--max-batch", "4"]
    process = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.PIPE, text=True, preexec_fn=limited)
    assert process.stderr
    try:
        assert "The service is at" in process.stderr.readline()
        connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(400)]
        found = Counter()
        for one in connections:  # all stay open
            one.request("GET", "/livez")
            response = one.getresponse()
            response.read()
            found[response.status] += 1
        for one in connections:
            one.close()
        last = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        last.request("GET", "/livez")
        assert last.getresponse().status in (200, 503)
        last.close()
    finally:
        process.terminate()
        process.stderr.read()
        process.wait(20)
        process.stderr.close()
    assert set(found) == {200, 503}
    assert found.total() == 400
    assert found[200] >= 20
