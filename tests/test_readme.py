"""What the README says works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import encode, shapes, write_files
from whatsit.apps.api.settings import MEGABYTE, Settings
from whatsit.images.decode import MAX_PIXELS

ROOT = Path(__file__).parent.parent
READMES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.th.md")}


def test_python_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape_files: dict[str, bytes]) -> None:
    write_files(tmp_path / "food", shape_files)
    (tmp_path / "lunch.jpg").write_bytes(encode(shapes("disc", 5), "JPEG"))
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", READMES["README.md"], re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})


def test_thai_readme_has_the_same_python_code() -> None:
    blocks = [re.findall(r"```python\n(.*?)```", text, re.DOTALL) for text in READMES.values()]
    without_comments = [[re.sub(r" *#.*", "", code) for code in codes] for codes in blocks]
    assert without_comments[0] == without_comments[1]


@pytest.mark.parametrize("readme", READMES)
def test_every_command_named_exists(readme: str) -> None:
    from whatsit.apps.cli import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    named = set(re.findall(r"`whatsit ([a-z]+)", READMES[readme]))
    assert named
    assert named <= known


@pytest.mark.parametrize("readme", READMES)
def test_limits_of_the_service_are_those_named(readme: str) -> None:
    [line] = [line for line in READMES[readme].splitlines() if "`--max-body`" in line]
    limits = (Settings.max_pixels // 1_000_000, MAX_PIXELS // 1_000_000, Settings.max_body // MEGABYTE)
    assert tuple(map(int, re.findall(r"\d+", line))) == limits


@pytest.mark.parametrize("readme", READMES)
def test_links_lead_somewhere(readme: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", READMES[readme]):
        assert "://" in link or (ROOT / link).exists(), link
