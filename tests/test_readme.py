"""What the README says works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import encode, shapes, write_files

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


def test_it_fits_on_two_screens() -> None:
    assert len(READMES["README.md"].encode()) <= 6_144
    assert len(READMES["README.th.md"]) <= 6_144  # a Thai letter has three bytes


@pytest.mark.parametrize("readme", READMES)
def test_links_lead_somewhere(readme: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", READMES[readme]):
        assert "://" in link or (ROOT / link).exists(), link
