"""The notebooks run from top to bottom, on small data."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
QUICK = {"size": 32, "finetune_layers": 2, "finetune_epochs": 1, "epochs": 4}


def test_there_are_four() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "01_data_exploration",
        "02_baseline_model",
        "03_transfer_learning",
        "04_evaluation",
    ]


@pytest.fixture(scope="module")
def kernel(shapes_folder: Path) -> Iterator[KernelManager]:
    """One kernel for all, as each would load TensorFlow anew; every notebook begins with no names."""
    manager = KernelManager()
    manager.start_kernel(env={**os.environ, "WHATSIT_DATA": str(shapes_folder), "WHATSIT_SETTINGS": json.dumps(QUICK)})
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_draws(path: Path, kernel: KernelManager, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"import os\nos.chdir({str(tmp_path)!r})\n%reset -f"))
    client = NotebookClient(notebook, km=kernel, timeout=300)
    client.execute()
    client.kc.stop_channels()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert not [output.text for output in outputs if output.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs_and_speaks_both_languages(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert re.search("[\u0e01-\u0e59]", cell.source), cell.source
