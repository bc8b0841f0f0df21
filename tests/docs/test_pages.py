"""Every command and every line of Python in the tutorials and how-tos runs, and prints what the pages show.

`make docs-update` writes the output that was seen into the pages, also into the Thai ones.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.conftest import NOT_RUN
from tests.docs.pages import DOCS, Block, blocks, pages
from tests.docs.session import Session, Trainings, missing, same

UPDATE = bool(os.environ.get("WHATSIT_UPDATE_DOCS"))
ELSEWHERE = {"kubernetes.md": "it is about clusters; tests/deploy holds it against the files and runs what can be run"}
PAGES = pages(thai=False)

pytestmark = pytest.mark.docs


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all pages: the same pictures are looked at once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all processes of this run."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own) / "docs"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def trainings(shared: Path) -> Trainings:
    return Trainings(shared)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def session(work: Path, cache: Path, trainings: Trainings, shared: Path) -> Iterator[Session]:
    shutil.rmtree(work)
    folder = work / "page"
    folder.mkdir(parents=True)
    session = Session(folder, cache, trainings, shared / "ports.lock")
    yield session
    session.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_a_page_says_runs(page: Path, session: Session, record_property: Callable[[str, str], None]) -> None:
    if page.name in ELSEWHERE:
        record_property(NOT_RUN, f"{page.relative_to(DOCS)}: {ELSEWHERE[page.name]}")
        return
    found = blocks(page)
    for place, block in enumerate(found):
        following = found[place + 1] if place + 1 < len(found) else None
        if block.title:
            (session.folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.language in ("note", "sh", "console", "python"):
            if why := missing(block):
                record_property(NOT_RUN, f"{page.relative_to(DOCS)}:{block.line}: {why}")
            elif block.language == "note":
                session.prepare(block.text)
            else:
                printed = session.run(block)
                if block.language == "console":
                    check(page, block, shown(block), printed)
                elif block.language == "python" and following and following.language == "text":
                    check(page, following, following.text, printed)


def shown(block: Block) -> str:
    """The output in a console block."""
    return "".join(f"{line}\n" for line in block.text.splitlines() if not line.startswith("$ "))


def check(page: Path, block: Block, expected: str, printed: str) -> None:
    if same(expected, printed):
        return
    if not UPDATE:
        pytest.fail(f"{page}:{block.line}: it shows\n{expected}\nbut this was seen:\n{printed}")
    for path in (page, page.with_name(page.name.replace(".md", ".th.md"))):
        if path.exists():
            text = path.read_text(encoding="utf-8")
            commands = "".join(f"{line}\n" for line in block.text.splitlines() if line.startswith("$ "))
            before, after = (
                f"```{block.language}\n{block.text}```",
                f"```{block.language}\n{commands}{printed.rstrip()}\n```",
            )
            assert text.count(before) == 1, f"{path}: the block is not there once"
            path.write_text(text.replace(before, after), encoding="utf-8")
