"""What the README says works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import encode, shapes, write_files

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_python_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape_files: dict[str, bytes]) -> None:
    write_files(tmp_path / "food", shape_files)
    (tmp_path / "lunch.jpg").write_bytes(encode(shapes("disc", 5), "JPEG"))
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})


def test_every_command_named_exists() -> None:
    from whatsit.apps.cli import app

    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    named = set(re.findall(r"`whatsit ([a-z]+)", README))
    assert named
    assert named <= known


def test_links_lead_somewhere() -> None:
    root = Path(__file__).parent.parent
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in link or (root / link).exists(), link
