"""`constraints.txt`, the versions that were tested, goes with what `pyproject.toml` asks for."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOT_TESTED = {"train-gpu", "notebooks"}  # extras that `make` does not install


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    rows = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in rows}


def wanted() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    texts = [*PROJECT["dependencies"], *(text for extra in extras.keys() - NOT_TESTED for text in extras[extra])]
    found = [Requirement(text) for text in texts]
    return sorted((one for one in found if one.name != "whatsit"), key=str)


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_every_dependency_has_a_tested_version(requirement: Requirement) -> None:
    assert requirement.specifier.contains(pinned()[canonicalize_name(requirement.name)])
