"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "whatsit"
STAGES = (
    "images",
    "graph",
    "models",
    "training",
    "bundle",
    "runtime",
    "evaluation",
    "run",
    "tuning",
    "scale",
    "verbs",
    "apps",
)
FREE = ("arrays", "cache", "errors", "events", "files", "process", "run_files", "version", "engines")
# What a machine that only serves may not have, or should not wait for.
HEAVY = {"tensorflow", "keras", "sklearn", "scipy", "onnx", "tf2onnx", "matplotlib"}


def imports(path: Path) -> set[str]:
    """The folders (or free modules) of whatsit that a file imports from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "whatsit" else [f"whatsit.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("whatsit.")}
    return found


@pytest.mark.parametrize("stage", [*STAGES, *FREE])
def test_folders_import_only_from_folders_to_their_left(stage: str) -> None:
    allowed = {*FREE, *STAGES[: STAGES.index(stage) + 1]} if stage in STAGES else set(FREE)
    files = (SOURCE / stage).rglob("*.py") if (SOURCE / stage).is_dir() else [SOURCE / f"{stage}.py"]
    wrong = {str(path.relative_to(SOURCE)): imports(path) - allowed for path in files}
    assert {path: odd for path, odd in wrong.items() if odd} == {}


def test_every_module_is_in_a_known_place() -> None:
    tops = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in SOURCE.rglob("*.py")}
    assert tops == {*STAGES, *FREE, "__init__", "__main__"}


def test_serving_loads_nothing_of_training() -> None:
    """In one process, where what is imported first is named."""
    codes = [
        "import whatsit, whatsit.apps.cli",
        "import whatsit; whatsit.Predictor",
        "import whatsit.evaluation.parity, whatsit.verbs.predict, whatsit.verbs.verify",
        "import whatsit.verbs.evaluate, whatsit.verbs.check, whatsit.verbs.explain",
        "import whatsit.apps.gradio_app.server",
        "import whatsit.apps.streamlit_app.server, whatsit.apps.streamlit_app.page_classify, "
        "whatsit.apps.streamlit_app.page_live, whatsit.apps.streamlit_app.page_model",
    ]
    loop = f"for code in {codes!r}:\n    exec(code)\n    print(code, *sorted({HEAVY!r} & set(sys.modules)), sep=': ')"
    done = subprocess.run([sys.executable, "-c", f"import sys\n{loop}"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == codes


def test_serving_runs_without_the_training_extra(baseline_run, tmp_path: Path) -> None:
    """In a process where importing any heavy package fails."""
    script = f"""
import sys
from collections.abc import Container, Iterator
for name in {HEAVY!r}: sys.modules[name] = None
import whatsit
from whatsit.bundle.read import read_bundle
bundle = read_bundle({str(baseline_run.model)!r})
[answer] = whatsit.load({str(baseline_run.model)!r}).predict([bundle.references[0].data])
assert all(parity.passed for parity in whatsit.verify({str(baseline_run.model)!r}))
assert whatsit.check({str(baseline_run.model)!r})
import whatsit.apps.streamlit_app.server, whatsit.apps.streamlit_app.page_classify, whatsit.apps.streamlit_app.page_model
picture = {str(tmp_path / "picture")!r} + bundle.references[0].file
open(picture, "wb").write(bundle.references[0].data)
whatsit.explain({str(baseline_run.model)!r}, picture, picture + ".png")
print(answer.label)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("columns", "disc", "rows")


def test_functions_stay_short() -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kinds):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                long |= {f"{path.relative_to(SOURCE)} {node.name}": lines} if lines > 60 else {}
    assert long == {}


def test_modules_stay_short() -> None:
    assert {
        str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if len(path.read_text().splitlines()) > 400
    } == set()
