"""What happens to the process that imports whatsit: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from whatsit import process
from whatsit.files import write_text
from whatsit.process import environment, unwarned

# The pages are scripts of Streamlit's, which is a program of its own. Libraries that set what is theirs are imported first.
IMPORT_ALL = """
import contextlib, importlib, os, pkgutil, signal, sys, warnings
import numpy, PIL.Image
with contextlib.suppress(ImportError):
    import gradio
with contextlib.suppress(ImportError):
    import streamlit

def state():
    mask = os.umask(0)
    os.umask(mask)
    streams = [sys.stdin, sys.stdout, sys.stderr, *((os.fstat(n).st_dev, os.fstat(n).st_ino) for n in range(3))]
    signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return dict(os.environ), list(warnings.filters), mask, sys.getswitchinterval(), streams, signals, sys.excepthook

before = state()
import whatsit
count = 0
for module in pkgutil.walk_packages(whatsit.__path__, "whatsit."):
    if not module.name.startswith("whatsit.apps.streamlit_app."):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module.name)
            count += 1
for was, now in zip(before, state()):
    assert was == now, (was, now)
print(count)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_import_leaves_the_process_as_it_was() -> None:
    done = run(IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100  # modules
    assert done.stderr == ""


def test_streams_of_a_guest_are_left_alone() -> None:
    """In a process of its own: in this one a test may have run the command line, which is no guest."""
    done = run(
        "import os; from whatsit.process import silent_descriptor\nwith silent_descriptor(2): os.write(2, b'mine')"
    )
    assert done.stderr == "mine"


def test_at_home_libraries_are_silenced() -> None:
    done = run(
        "import os; from whatsit.process import own_process, silent_descriptor\n"
        "own_process()\n"
        "with silent_descriptor(2): os.write(2, b'theirs')\n"
        "os.write(2, b'ours')"
    )
    assert done.stderr == "ours"


def test_environment_is_set_for_a_while_and_keeps_what_the_user_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHATSIT_TEST_A", "user's")
    before = dict(os.environ)
    with environment({"WHATSIT_TEST_A": "ours", "WHATSIT_TEST_B": "ours"}):
        assert (os.environ["WHATSIT_TEST_A"], os.environ["WHATSIT_TEST_B"]) == ("user's", "ours")
    with environment({"WHATSIT_TEST_A": "ours"}, always=True):
        assert os.environ["WHATSIT_TEST_A"] == "ours"
    assert dict(os.environ) == before


def test_warnings_that_are_errors_do_not_stop_what_is_unwarned() -> None:
    calls = []

    @unwarned
    def read(value: int) -> int:
        calls.append(value)
        warnings.warn("of no matter", UserWarning, stacklevel=1)
        return value

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        assert read(7) == 7
        assert warnings.filters == before
    assert calls == [7, 7]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask that matters")
def test_files_are_as_accessible_as_the_user_wants_and_the_umask_is_never_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "usual").write_text("x")

    def touched(_: int) -> int:
        raise AssertionError("for a moment, other threads' files would be accessible to everybody")

    monkeypatch.setattr(os, "umask", touched)
    write_text(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "usual"]


@pytest.mark.parametrize(
    ("text", "wanted"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", None), ("", None)]
)
def test_share_of_a_container_is_known(
    text: str, wanted: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(process, "CPU_LIMIT", tmp_path / "cpu.max")
    assert process.container_processors() == wanted
    assert 1 <= process.processors() <= (wanted or 10**6)
