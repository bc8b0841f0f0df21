"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Container, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "whatsit"
STAGES = ("images", "graph", "models", "training", "bundle", "runtime", "evaluation", "run", "tuning", "verbs", "apps")
FREE = ("cache", "errors", "events", "files", "process", "progress", "run_files", "version", "engines")
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


@pytest.mark.parametrize(
    "code",
    [
        "import whatsit, whatsit.apps.cli",
        "import whatsit; whatsit.Predictor",
        "import whatsit.evaluation.parity, whatsit.verbs.predict, whatsit.verbs.verify",
        "import whatsit.verbs.evaluate, whatsit.verbs.check, whatsit.verbs.explain",
        "import whatsit.apps.gradio_app.server",
        "import whatsit.apps.streamlit_app.server, whatsit.apps.streamlit_app.page_classify, "
        "whatsit.apps.streamlit_app.page_live, whatsit.apps.streamlit_app.page_model",
    ],
)
def test_serving_loads_nothing_of_training(code: str) -> None:
    script = f"{code}\nimport sys; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_serving_runs_without_the_training_extra(baseline_run, tmp_path: Path) -> None:
    """In a process where importing any heavy package fails."""
    script = f"""
import sys
from collections.abc import Container, Iterator
for name in {HEAVY!r}: sys.modules[name] = None
import whatsit
from whatsit.bundle.read import read_bundle
bundle = read_bundle({str(baseline_run.model)!r})
[answer] = whatsit.load({str(baseline_run.model)!r}).predict([bundle.golden[0].data])
assert all(parity.passed for parity in whatsit.verify({str(baseline_run.model)!r}))
assert whatsit.check({str(baseline_run.model)!r})
import whatsit.apps.streamlit_app.server, whatsit.apps.streamlit_app.page_classify, whatsit.apps.streamlit_app.page_model
picture = {str(tmp_path / "picture")!r} + bundle.golden[0].file
open(picture, "wb").write(bundle.golden[0].data)
whatsit.explain({str(baseline_run.model)!r}, picture, picture + ".png")
print(answer.label)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("columns", "disc", "rows")


def test_modules_stay_short() -> None:
    assert {
        str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if len(path.read_text().splitlines()) > 400
    } == set()


def modules() -> dict[str, Path]:
    """Every module of whatsit by its dotted name."""
    places = {path: path.relative_to(SOURCE.parent).with_suffix("").parts for path in SOURCE.rglob("*.py")}
    return {".".join(parts).removesuffix(".__init__"): path for path, parts in places.items()}


def imported_modules(path: Path, known: Container[str]) -> set[str]:
    """The modules of whatsit that a file imports anywhere in it, for typing only among them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {full if (full := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
    return {name for name in found if name in known}


def test_modules_do_not_import_each_other_in_circles() -> None:
    known = modules()
    order = TopologicalSorter({name: imported_modules(path, known) - {name} for name, path in known.items()})
    order.prepare()  # raises CycleError, which names the modules of a circle


def test_no_module_needs_many_others() -> None:
    known = modules()
    needs = {name: imported_modules(path, known) - {name, "whatsit.errors"} for name, path in known.items()}
    most = {name: 15 if ".verbs." in name else 12 for name in known}
    assert {name: len(others) for name, others in needs.items() if len(others) > most[name]} == {}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function, with the place of its definition."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(SOURCE)}:{node.name}", node


def test_functions_fit_on_a_screen() -> None:
    lengths = {place: (node.end_lineno or 0) - node.lineno + 1 for place, node in functions()}
    assert {place: length for place, length in lengths.items() if length > 60 and not is_public(place)} == {}


def test_functions_take_few_parameters() -> None:
    counts = {
        place: len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]) for place, node in functions()
    }
    counts = {place: number for place, number in counts.items() if not is_public(place)}
    assert {place: number for place, number in counts.items() if number > 9} == {}  # eight, and self


def is_public(place: str) -> bool:
    """Whether a function's parameters are a contract: the Python API's `train` and `tune`, and the command line."""
    return place in ("verbs/train.py:train", "verbs/tune.py:tune") or place.startswith("apps/cli/")


def test_verbs_are_short() -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCE.glob("verbs/*.py")}
    assert {name: length for name, length in lengths.items() if length > 120} == {}
