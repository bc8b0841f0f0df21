"""Names that libraries do not promise to keep, which whatsit uses all the same: gone, each is said here in a sentence.

Each library has an upper bound in `pyproject.toml`. What each name is for stands beside where it is used.
"""

from __future__ import annotations

import importlib
import inspect
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
CONNECTION = "src/whatsit/apps/api/connection.py"
SERVER = "src/whatsit/apps/api/server.py"
GRADIO = "src/whatsit/apps/gradio_app/inputs.py"
GRADIO_SERVER = "src/whatsit/apps/gradio_app/server.py"
SITE = "src/whatsit/apps/streamlit_app/server.py"
CLASSIFY = "src/whatsit/apps/streamlit_app/page_classify.py"
NAMES = [  # the file that uses it, the module, the object in it, what is taken of that
    (SERVER, "uvicorn", "Server", "handle_exit"),
    (
        CONNECTION,
        "uvicorn.protocols.http.httptools_impl",
        "HttpToolsProtocol",
        "connection_made connection_lost data_received pause_writing resume_writing",
    ),
    (CONNECTION, "uvicorn.server", "ServerState", ""),
    (GRADIO, "gradio", "Image", "GRADIO_CACHE async_move_resource_to_block_cache preprocess"),
    (GRADIO_SERVER, "gradio", "Blocks", "has_launched max_threads state_session_capacity"),
    (GRADIO, "gradio", "processing_utils", "save_file_to_cache"),
    (CLASSIFY, "streamlit.runtime.memory_uploaded_file_manager", "MemoryUploadedFileManager", "remove_file"),
    (SITE, "streamlit.net_util", "get_external_ip", ""),
    (CLASSIFY, "streamlit.runtime.scriptrunner", "get_script_run_ctx", ""),
]


@pytest.mark.parametrize(("file", "module", "name", "parts"), NAMES, ids=[f"{row[1]}.{row[2]}" for row in NAMES])
def test_name_is_still_there(file: str, module: str, name: str, parts: str) -> None:
    try:
        thing = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        pytest.fail(f"{module} has no {name} any more: find another way in {file}, or lower its upper bound")
    known = {*dir(thing)}
    if module == "gradio" and isinstance(
        thing, type
    ):  # attributes that its methods set; a made Blocks leaves loops open
        methods = [inspect.unwrap(one) for base in thing.__mro__ for one in vars(base).values() if callable(one)]
        known |= {used for method in methods if inspect.isfunction(method) for used in method.__code__.co_names}
    missing = [part for part in parts.split() if part not in known]
    assert not missing, (
        f"{module}.{name} has no {missing[0]} any more: find another way in {file}, or lower its upper bound"
    )


def test_what_the_command_line_catches_is_what_the_parser_raises() -> None:
    import typer

    base = typer.BadParameter.__base__
    assert base is not None
    assert base.__name__ == "UsageError", (
        f"typer.BadParameter derives from {base.__name__} now: see src/whatsit/apps/process.py"
    )


@pytest.mark.parametrize("library", ["fastapi", "gradio", "streamlit", "typer", "uvicorn"])
def test_library_has_an_upper_bound(library: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    bounds = [one.specifier for one in map(Requirement, texts) if one.name == library]
    assert bounds
    assert all(any(part.operator in ("<", "<=", "==", "~=") for part in bound) for bound in bounds)
