"""The Gradio app, as people and as programs meet it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from tests.browser import free_port, serving
from tests.drawn import THAI, draw
from tests.guard import NO_WAY_OUT, guarded
from whatsit.run.nearest import NearestTraining
from whatsit.run.record import Run

if TYPE_CHECKING:
    import gradio_client
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def address(fruit_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of `whatsit gradio` with the fruit model, which asks no other computer for anything and leaves nothing behind."""
    port = free_port()
    folder = tmp_path_factory.mktemp("gradio")
    log = folder / "asked.txt"
    command, environment = guarded(
        log, "whatsit.apps.cli", "gradio", fruit_run.folder, "--no-browser", "--port", port, "--host", "::"
    )
    environment |= NO_WAY_OUT | {"GRADIO_TEMP_DIR": str(folder / "uploads")}
    with serving(command, port, folder, health="/", **environment) as address:
        yield address
    assert f"The app is at http://[::1]:{port} (" in (folder / "server.log").read_text(encoding="utf-8")
    assert log.read_text() == ""
    assert [path for path in (folder / "uploads").rglob("*") if path.is_file()] == []


@pytest.fixture(scope="module")
def client(address: str) -> gradio_client.Client:
    import gradio_client  # here, and Gradio below: two seconds that not every process of the tests needs

    return gradio_client.Client(address, verbose=False, analytics_enabled=False)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo that lies on its side, by its EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    draw("banana", 50).save(tmp_path / "banana.jpg", quality=90, exif=exif)
    return tmp_path / "banana.jpg"


def test_client_gets_the_predictors_answer(client: gradio_client.Client, fruit_run: Run, photo: Path) -> None:
    from gradio_client import handle_file

    [wanted] = fruit_run.load().predict([photo], top=3)
    found = client.predict(handle_file(photo), 3, api_name="/predict")
    assert (found["label"], found["unknown"]) == (wanted.label, wanted.unknown)
    assert found["probability"] == pytest.approx(wanted.probability, abs=1e-6)
    assert [one["label"] for one in found["top"]] == [label for label, _ in wanted.top]


def test_many_pictures_are_answered_in_one_table(client: gradio_client.Client, photo: Path, tmp_path: Path) -> None:
    from gradio_client import handle_file

    (tmp_path / "words.jpg").write_bytes(b"words")
    files = [handle_file(photo), handle_file(tmp_path / "words.jpg")]
    table, sheet = client.predict(files, api_name="/predict_batch")
    assert table["data"][0][0] == "banana.jpg"
    assert "not a picture" in table["data"][1][1]
    assert Path(sheet).read_text(encoding="utf-8-sig").count("\n") == 3


def test_bad_picture_is_told(client: gradio_client.Client, tmp_path: Path) -> None:
    from gradio_client import handle_file

    (tmp_path / "words.jpg").write_bytes(b"words")
    with pytest.raises(Exception, match="not a picture in a format we read"):
        client.predict(handle_file(tmp_path / "words.jpg"), 3, api_name="/predict")


@pytest.mark.parametrize(
    "hostile",
    [
        {"path": "FILE"},  # without `meta`, Gradio would open any file of the server
        {"path": "FILE", "meta": {"_type": "gradio.FileData"}},
        {"path": "FILE", "is_stream": True, "meta": {"_type": "gradio.FileData"}},
        {"path": "http://127.0.0.1:1/x.png", "meta": {"_type": "gradio.FileData"}},
        {"path": "http://127.0.0.1:1/x.png"},
        {"url": "data:image/png;base64,!"},
        {"url": "data:image/png"},
        "FILE",
        7,
    ],
)
def test_only_uploaded_files_are_read(address: str, hostile: object, photo: Path) -> None:
    if isinstance(hostile, dict):
        hostile = {key: str(photo) if value == "FILE" else value for key, value in hostile.items()}
    began = httpx.post(f"{address}/gradio_api/call/predict", json={"data": [hostile, 3]})
    told = httpx.get(f"{address}/gradio_api/call/predict/{began.json()['event_id']}", timeout=20).text
    assert told.startswith("event: error")
    assert "probability" not in told


def test_too_many_pictures_at_once_are_refused_whole(
    fruit_run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gradio

    from whatsit.apps.gradio_app import page

    monkeypatch.setattr(page, "MAX_PICTURES", 1)
    request: Any = SimpleNamespace(headers={"accept-language": "en"})
    with pytest.raises(gradio.Error, match="2 pictures are too many at once, so none was looked at: bring at most 1"):
        page.Answers(fruit_run.load(), tmp_path).table([str(photo)] * 2, request)


def test_large_bodies_are_refused(address: str) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(90):
            yield b"[" * 1_000_000

    call = f"{address}/gradio_api/call/predict"
    answer = httpx.post(call, content=body(), headers={"Content-Type": "application/json"}, timeout=30)
    assert answer.status_code == 413
    assert "more than 80 MB" in answer.text


def test_large_uploads_are_refused(address: str) -> None:
    answer = httpx.post(f"{address}/gradio_api/upload", files={"files": ("a.png", bytes(60_000_000))}, timeout=60)
    assert answer.status_code == 413


def test_pages_of_other_sites_and_borrowed_names_are_refused(address: str, photo: Path) -> None:
    files = {"files": ("a.jpg", photo.read_bytes())}
    answer = httpx.post(f"{address}/gradio_api/upload", files=files, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403


def test_address_of_ipv6_answers(address: str) -> None:
    assert httpx.get(address.replace("127.0.0.1", "[::1]")).status_code == 200


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(locale="th-TH", viewport={"width": 1280, "height": 900})
    strangers: list[str] = []
    context.on(
        "request",
        lambda request: None if request.url.startswith((address, "data:", "blob:")) else strangers.append(request.url),
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto(address)
    page.get_by_role("heading", level=1).wait_for()
    yield page
    context.close()
    assert strangers == []


def test_uploaded_picture_is_answered_in_thai_with_the_evidence(page: Page, fruit_run: Run) -> None:
    file = io.BytesIO()
    draw("banana", 50).save(file, "JPEG", quality=90)
    [wanted] = fruit_run.load().predict([file.getvalue()])
    page.locator("input[type=file]").first.set_input_files(
        [{"name": "banana.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()}]
    )
    page.locator(".w-answer b").first.wait_for()
    assert page.locator(".w-answer b").first.inner_text() == ("ไม่รู้จัก" if wanted.unknown else THAI["banana"])
    page.get_by_role("button", name="ดาวน์โหลด").or_(page.locator("a[download]")).first.wait_for(state="attached")


def test_webcam_is_answered_as_it_runs(page: Page) -> None:
    page.get_by_role("tab", name="กล้องสด").first.click()
    page.get_by_role("button", name="Click to Access Webcam").click()
    page.get_by_role("button", name="capture photo").click()
    page.locator(".w-answer b").last.wait_for()


@pytest.mark.parametrize("below", ["/pets", ""])
def test_page_is_told_its_root_path_whether_the_proxy_took_it_off_or_not(below_pets: str, below: str) -> None:
    port = urlsplit(below_pets).port
    assert httpx.get(f"{below_pets}{below}/config").json()["root"] == f"http://127.0.0.1:{port}/pets"
    shown = {"Host": "lab.example", "X-Forwarded-Proto": "https"}
    assert httpx.get(f"{below_pets}{below}/config", headers=shown).json()["root"] == "https://lab.example/pets"


@pytest.fixture(scope="module")
def below_pets(baseline_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = [
        "whatsit.apps.cli",
        "gradio",
        baseline_run.folder,
        "--no-browser",
        "--port",
        port,
        "--root-path",
        "/pets",
    ]
    with serving(command, port, tmp_path_factory.mktemp("gradio"), health="/pets/") as address:
        yield address


def test_training_pictures_are_shown_only_where_they_may_be(fruit_run: Run, photo: Path, tmp_path: Path) -> None:
    from whatsit.apps.gradio_app.page import Answers

    predictor, data = fruit_run.load(), photo.read_bytes()
    near = NearestTraining(fruit_run.folder, predictor)
    *_, shown = Answers(predictor, tmp_path, near).nearest(data, None)  # type: ignore[arg-type]
    assert shown.count("<img") == 6
    assert "the nearest" in shown or "It looks like these" in shown
    assert list(Answers(predictor, tmp_path).nearest(data, None)) == [""]  # type: ignore[arg-type]
