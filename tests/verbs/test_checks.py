"""What this machine has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import whatsit as command_line
from whatsit.verbs import checks as verb


@pytest.fixture(autouse=True)
def few_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "PARTS", (("optuna", "optuna", "tune"), ("nowhere", "whatsit-nowhere", "extra")))


def test_machine_is_described_in_a_block() -> None:
    done = command_line("checks")
    assert done.returncode == 0, done.stdout
    names = [line[4:20].strip() for line in done.stdout.splitlines() if line[:2] in ("ok", "--")]
    assert {"whatsit", "Python", "processor", "numpy", "cache", "temporary files"} <= {*names}
    assert "--  whatsit-nowhere  not installed (pip install 'whatsit[extra]')" in done.stdout


def test_package_that_is_broken_is_named_and_the_code_is_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "optuna.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = command_line("checks", "--json")
    [found] = [one for one in json.loads(done.stdout) if one["name"] == "optuna"]
    assert "it cannot be imported (ImportError: libGL.so.1" in found["fault"]
    assert done.returncode == 1


def test_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whatsit.evaluation.machine.os.access", lambda path, mode: False)
    faults = {one.name: one.fault for one in verb.checks() if one.fault}
    assert faults["cache"] == "it cannot be written; choose another place, or change its rights"
