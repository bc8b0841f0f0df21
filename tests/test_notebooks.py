"""The notebooks run from top to bottom, on small data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.coroutines import run_apart

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
def kernel() -> Iterator[AsyncKernelManager]:
    """One for all of them, as to load TensorFlow takes seconds; each begins without a name."""
    manager = AsyncKernelManager(kernel_name="python3")
    run_apart(manager.start_kernel())
    yield manager
    run_apart(manager.shutdown_kernel(now=True))


async def execute(notebook: nbformat.NotebookNode, kernel: AsyncKernelManager) -> None:
    client = NotebookClient(notebook, km=kernel, timeout=300)
    await client.async_execute()
    client.kc.stop_channels()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_draws(path: Path, kernel: AsyncKernelManager, shapes_folder: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    told = {"WHATSIT_DATA": str(shapes_folder), "WHATSIT_SETTINGS": json.dumps(QUICK)}
    begin = f"import os\nos.chdir({str(tmp_path)!r})\n%reset -f\nimport os\nos.environ |= {told!r}\ndel os"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(begin))
    run_apart(execute(notebook, kernel))  # whose event loop is closed, unlike that of `NotebookClient.execute`
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
