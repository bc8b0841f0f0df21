"""Labels that people give to what the model suggests, and the page where they do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from tests.conftest import encode, shapes
from whatsit.apps.streamlit_app.labelling import SKIPPED, Labelling
from whatsit.apps.streamlit_app.model_registry import ModelRegistry
from whatsit.apps.streamlit_app.page_label import PATH, ToLabel
from whatsit.errors import DataError, UsageError
from whatsit.images.scan import scan
from whatsit.run.record import Run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shapes, two of them of one name, and three frames of a burst."""
    folder = tmp_path_factory.mktemp("photos")
    for number, label in enumerate(("disc", "rows", "disc")):
        place = folder / f"day{number}"
        place.mkdir()
        (place / "IMG_1.png").write_bytes(encode(shapes(label, 2000 + number)))
    for number in range(3):
        (folder / f"frame{number}.jpg").write_bytes(encode(shapes("rows", 7000), "JPEG", quality=60 + 10 * number))
    return folder


@pytest.fixture
def labelling(baseline_run: Run, pictures: Path, tmp_path: Path) -> Labelling:
    """All of them, suggested."""
    found = Labelling(pictures, tmp_path / "labelled")
    thread = found.find(baseline_run.model)
    assert thread is not None
    thread.join(120)
    assert (found.error, found.progress) == ("", None)
    return found


def classes(labelling: Labelling) -> dict[str, int]:
    return {label: len(labelling.collection.pictures(label)) for label in labelling.collection.labels()}


def decide(labelling: Labelling, decisions: Mapping[int, str | None]) -> None:
    assert labelling.batch is not None
    labelling.decide(labelling.batch.token, decisions)


def test_labels_become_copies_that_can_be_trained_with(labelling: Labelling, pictures: Path) -> None:
    before = sorted(path.read_bytes() for path in pictures.rglob("*.*"))
    decide(labelling, dict.fromkeys(range(5), "disc") | {5: "แมว"})
    assert classes(labelling) == {"disc": 5, "แมว": 1}
    assert len(scan(labelling.collection.folder).pictures) == 6
    assert sorted(path.read_bytes() for path in pictures.rglob("*.*")) == before


def test_burst_is_one_group_whose_files_get_one_label(labelling: Labelling) -> None:
    assert labelling.batch is not None
    groups = {
        tuple(sorted(Path(labelling.batch.files[n]).name for n in numbers)) for _, numbers in labelling.batch.groups
    }
    assert ("frame0.jpg", "frame1.jpg", "frame2.jpg") in groups
    assert len(labelling.batch.files) == 6


def test_what_is_undone_or_changed_is_moved_aside_and_nothing_is_lost(labelling: Labelling) -> None:
    decide(labelling, {0: "disc", 1: "disc"})
    decide(labelling, {0: "rows", 1: None})
    assert classes(labelling) == {"disc": 0, "rows": 1}
    decide(labelling, {0: "disc", 1: SKIPPED})
    assert classes(labelling) == {"disc": 1, "rows": 0}
    decide(labelling, {0: None, 1: None})
    assert classes(labelling) == {"disc": 0, "rows": 0}
    assert labelling.decisions == {}


def test_name_that_is_no_folder_is_refused_and_the_others_are_labelled(labelling: Labelling) -> None:
    with pytest.raises(DataError, match="cannot be that of a folder"):
        decide(labelling, {0: "../up", 1: "disc"})
    assert (classes(labelling), labelling.refused) == ({"disc": 1}, [0])
    decide(labelling, {1: "disc"})
    assert labelling.refused == []


def test_labels_from_another_window_stay(labelling: Labelling) -> None:
    decide(labelling, {0: "disc"})
    decide(labelling, {1: "rows"})
    assert classes(labelling) == {"disc": 1, "rows": 1}


def test_labels_of_an_earlier_batch_change_nothing(labelling: Labelling) -> None:
    labelling.decide("another", {0: "disc"})
    assert classes(labelling) == {}


def test_next_batch_has_neither_labelled_nor_skipped_pictures(labelling: Labelling, baseline_run: Run) -> None:
    assert labelling.batch is not None
    first = labelling.batch
    decide(labelling, {0: "disc", 1: SKIPPED})
    thread = labelling.find(baseline_run.model)
    assert thread is not None
    thread.join(120)
    again = labelling.batch
    assert again is not None
    assert again.token != first.token
    assert not {first.files[0], first.files[1]} & {one.image for one, _ in again.groups}


def test_labelling_everything_says_so(labelling: Labelling, baseline_run: Run) -> None:
    decide(labelling, dict.fromkeys(range(6), "disc"))
    thread = labelling.find(baseline_run.model)
    assert thread is not None
    thread.join(120)
    assert "have a label already" in labelling.error


def test_folders_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        Labelling(tmp_path / "none")
    (tmp_path / "data" / "train" / "cat").mkdir(parents=True)
    with pytest.raises(UsageError, match="data/train"):
        Labelling(tmp_path, tmp_path / "data")


def test_root_of_a_disk_needs_a_folder_for_the_labels() -> None:
    with pytest.raises(UsageError, match="is the root of a disk; give the folder"):
        Labelling("/")


def test_only_pictures_of_the_batch_are_shown(labelling: Labelling) -> None:
    assert labelling.batch is not None
    route = Route(PATH, ToLabel(SimpleNamespace(labelling=labelling)).picture)
    client = TestClient(Starlette(routes=[route]))
    path = f"/whatsit/to-label/{labelling.batch.token}"
    found = client.get(f"{path}/0")
    assert (found.status_code, found.headers["content-type"]) == (200, "image/jpeg")
    assert client.get(f"{path}/6").status_code == 404
    assert client.get("/whatsit/to-label/guess/0").status_code == 404
    closed = Route(PATH, ToLabel(SimpleNamespace(labelling=None)).picture)
    assert TestClient(Starlette(routes=[closed])).get(f"{path}/0").status_code == 404


def page(labelling: object, opened: object, language: str) -> None:
    """The script of the page alone."""
    from whatsit.apps.streamlit_app import page_label
    from whatsit.apps.texts import Texts

    page_label.show(labelling, opened, Texts(language))  # type: ignore[arg-type]


def test_page_shows_what_to_do_with_the_labels(labelling: Labelling, baseline_run: Run) -> None:
    registry = ModelRegistry()
    registry.offer([baseline_run.folder])
    entry = registry.find(baseline_run.folder.name)
    assert entry is not None
    given = {"labelling": labelling, "opened": registry.open(entry), "language": "en"}
    drawn = AppTest.from_function(page, default_timeout=30, kwargs=given).run()
    assert (drawn.title[0].value, len(drawn.code)) == ("What to label next", 0)
    assert [button.label for button in drawn.button] == ["Find the next pictures"]
    decide(labelling, {0: "disc"})
    drawn.run()
    assert not drawn.exception
    assert drawn.code[0].value == f"whatsit train {labelling.collection.folder}"


def test_page_finds_pictures_in_thai(labelling: Labelling, baseline_run: Run) -> None:
    labelling.batch = None
    registry = ModelRegistry()
    registry.offer([baseline_run.folder])
    entry = registry.find(baseline_run.folder.name)
    assert entry is not None
    given = {"labelling": labelling, "opened": registry.open(entry), "language": "th"}
    drawn = AppTest.from_function(page, default_timeout=30, kwargs=given).run()
    assert drawn.button[0].label == "หารูปที่ควรติดป้าย"
    labelling.error = "nothing [there]"
    drawn.run()
    assert drawn.warning[0].value == "nothing \\[there\\]"
