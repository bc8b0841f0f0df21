"""Public functions say what goes in, what comes out and what may be raised: the page of the Python API is made of that."""

from __future__ import annotations

import ast

import pytest

import whatsit
from tests.docs.pages import ROOT

CLASSES = {"Client": ("predict", "models"), "Predictor": ("predict", "embed")}  # their methods on the page
HOMES = dict(whatsit._HOMES)  # the public names and where they are
SHORT = ("undo_sorting",)  # takes one folder, which its name says; its module is as long as one may be


def functions() -> list[tuple[str, ast.FunctionDef]]:
    found = []
    for name, home in HOMES.items():
        if name in SHORT:
            continue
        module, attribute = home.split(":")
        path = ROOT / "src" / f"{module.replace('.', '/')}.py"
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if getattr(node, "name", None) == attribute and isinstance(node, ast.FunctionDef):
                found.append((name, node))
            if getattr(node, "name", None) == attribute and isinstance(node, ast.ClassDef) and name in CLASSES:
                methods = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name in CLASSES[name]]
                found += [(f"{name}.{one.name}", one) for one in methods]
    return found


@pytest.mark.parametrize(("name", "function"), functions(), ids=lambda value: value if isinstance(value, str) else "")
def test_docstring_is_complete(name: str, function: ast.FunctionDef) -> None:
    text = ast.get_docstring(function) or ""
    given = function.args
    parameters = [one.arg for one in (*given.args, *given.kwonlyargs) if one.arg != "self"]
    assert [one for one in parameters if f"\n    {one}: " not in text] == [], name
    assert (
        ast.unparse(function.returns or ast.Constant(None)) == "None"
        or "\nReturns:\n" in text
        or text.startswith("Return ")
    )
    for line in text.partition("\nRaises:\n")[2].splitlines():
        assert line.startswith("     ") or not line.strip() or line.split(":")[0].endswith("Error"), f"{name}: {line}"
