"""The folder of a study."""

from __future__ import annotations

from pathlib import Path

import pytest

from whatsit.errors import UsageError
from whatsit.training.recipe import Recipe
from whatsit.tuning.folder import StudyFolder, make_folder


def test_folder_of_a_study_killed_before_it_was_described_is_free(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / ".study.lock").touch()
    (folder / ".study.json.0123.part").write_text("{")
    make_folder(folder)
    StudyFolder(folder, "data", "f", Recipe(), {}, None, 3, None).write()
    with pytest.raises(UsageError, match="exists already; continue it with --resume"):
        make_folder(folder)
