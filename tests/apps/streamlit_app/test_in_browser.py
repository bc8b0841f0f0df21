"""The web app as its visitors meet it, in a real browser."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.apps.conftest import ON_CAMERA
from tests.apps.streamlit_app.conftest import HOME
from tests.conftest import HOSTILE, encode, shapes
from tests.drawn import THAI, draw
from whatsit.run.record import Run
from whatsit.runtime.predictor import Prediction
from whatsit.runtime.wording import percent

if TYPE_CHECKING:
    from playwright.sync_api import Page

    Visit = Callable[..., Page]

UNKNOWN = "Unknown"


def jpeg(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def shown(wanted: Prediction) -> tuple[str, str]:
    """What the page is to say."""
    return (UNKNOWN, "") if wanted.unknown else (wanted.label, f"{percent(wanted.probability)} sure")


def bring(page: Page, *files: tuple[str, bytes]) -> None:
    """Drop files, given by name and contents."""
    payload = [{"name": name, "mimeType": "image/jpeg", "buffer": data} for name, data in files]
    # Of two, which there are for a moment while one is replaced, the first is the new one.
    page.get_by_test_id("stFileUploaderDropzoneInput").first.set_input_files(payload)


def answer(page: Page) -> tuple[str, str]:
    """The headline, and how sure it is."""
    page.locator(".w-answer b").wait_for()
    sure = page.locator(".w-answer span")
    return page.locator(".w-answer b").inner_text(), sure.inner_text().replace("\u00a0", " ") if sure.count() else ""


def nearest(page: Page) -> str:
    """The most probable class, also where the answer is unknown."""
    name = page.locator(".w-bar .name").first
    name.wait_for()
    return name.inner_text()


def test_uploaded_picture_stands_beside_the_predictors_answer(visit: Visit, fruit_run: Run) -> None:
    data = jpeg(draw("banana", 50))
    [wanted] = fruit_run.load().predict([data])
    page = visit()
    bring(page, ("banana.jpg", data))
    assert answer(page) == shown(wanted)
    assert nearest(page) == THAI["banana"]
    names = page.locator(".w-bar .name").all_inner_texts()
    assert names == [label for label, _ in wanted.top]
    page.locator(".w-picture .over").wait_for()  # the evidence, over the picture
    assert page.locator(".w-picture img").count() == 2
    assert page.get_by_text("Answered in").is_visible()


def test_training_pictures_that_look_like_it_stand_under_the_answer(visit: Visit) -> None:
    page = visit(language="th-TH", width=375)
    bring(page, ("banana.jpg", jpeg(draw("banana", 50))))
    page.get_by_text("คล้ายรูปเหล่านี้ที่เคยใช้สอน").wait_for()
    assert page.locator(".w-near figure").count() == 6
    assert page.locator(".w-near figure").first.inner_text() == THAI["banana"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_evidence_is_as_strong_as_the_slider_says(visit: Visit) -> None:
    page = visit()
    bring(page, ("mango.jpg", jpeg(draw("mango", 50))))
    over = page.locator(".w-picture .over")
    over.wait_for()
    assert over.evaluate("image => image.style.opacity") == "0.5"
    page.get_by_role("slider", name="Where did it look?").press("Home")
    page.wait_for_function("document.querySelector('.w-picture .over').style.opacity === '0'")


def test_language_is_the_browsers_and_can_be_switched(visit: Visit) -> None:
    page = visit(language="th-TH")
    assert page.get_by_role("heading", level=1).inner_text() == "ในรูปนี้คืออะไร"
    bring(page, ("mango.jpg", jpeg(draw("mango", 50))))
    page.get_by_text("เหมือนแต่ละประเภทแค่ไหน").wait_for()
    page.get_by_role("radio", name="English").click()
    page.get_by_role("heading", name="What is in the picture?").wait_for()
    page.get_by_text("How well each kind fits").wait_for()  # the picture is still there
    page.reload()
    page.get_by_role("heading", name="What is in the picture?").wait_for()


READABLE = """() => {
    const nodes = document.createTreeWalker(document.querySelector('[data-testid=stMain]'), NodeFilter.SHOW_TEXT);
    const texts = [];
    while (nodes.nextNode()) {
        const element = nodes.currentNode.parentElement;
        const seen = element.getClientRects().length && parseFloat(getComputedStyle(element).fontSize) > 0;
        if (seen && !element.closest('[data-testid=stIconMaterial]')) texts.push(nodes.currentNode.textContent);
    }
    return texts.join('\\n');
}"""
ENGLISH = r"/\b(the|picture|upload|per file|camera)\b/i"


def test_every_page_speaks_thai_and_fits_a_phone(visit: Visit, app: str) -> None:
    page = visit(language="th", width=390)
    for path, last in (("", "[data-testid=stFileUploader]"), ("live", ".live .main"), ("model", ".w-table >> nth=-1")):
        if path:
            page.goto(f"{app}/{path}")
        page.locator(last).wait_for()
        # The style comes a moment after what it replaces.
        page.wait_for_function(f"() => !{ENGLISH}.test(({READABLE})())")
        assert len(page.evaluate(READABLE)) > 50
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_streamlits_own_words_are_replaced(visit: Visit) -> None:
    page = visit(language="th")
    words = page.get_by_test_id("stFileUploader").get_by_test_id("stBaseButton-secondary").locator("p")
    assert words.evaluate("word => getComputedStyle(word, '::after').content") == '"เลือกรูป"'


def test_many_pictures_give_a_table_a_filter_and_a_csv(visit: Visit, fruit_run: Run) -> None:
    files = [(f"{kind} {seed}.jpg", jpeg(draw(kind, seed))) for kind in ("banana", "grapes") for seed in range(50, 56)]
    answers = fruit_run.load().predict([data for _, data in files])
    grapes = sum(answer.label == THAI["grapes"] and not answer.unknown for answer in answers)
    assert grapes >= 4
    files.append(("=broken.jpg", b"\xff\xd8\xff\xe0 no picture"))
    page = visit()
    bring(page, *files)
    page.get_by_text("13 pictures in").wait_for()
    assert page.get_by_text("“=broken.jpg” could not be read").is_visible()
    page.get_by_test_id("stDataFrame").wait_for()
    page.get_by_role("button", name=f"{THAI['grapes']} {grapes}").click()
    shown = page.locator(f"[data-testid=data-grid-canvas] [role=grid][aria-rowcount='{grapes + 1}']")
    shown.wait_for(state="attached")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()))
    assert [row["file"] for row in rows] == [name for name, _ in files[:-1]] + ["'=broken.jpg"]
    for row, wanted in zip(rows[:-1], answers, strict=True):
        assert row["answer"] == wanted.label
        assert float(row["probability"]) == pytest.approx(wanted.probability, abs=1e-4)
    assert "damaged" in rows[-1]["error"]


def test_ticked_row_shows_its_picture(visit: Visit) -> None:
    page = visit()
    bring(page, *((f"{kind}.jpg", jpeg(draw(kind, 50))) for kind in ("banana", "grapes")))
    table = page.get_by_test_id("stDataFrame")
    table.wait_for()
    table.locator("canvas").first.click(
        position={"x": 17, "y": 36 + 64 + 32}, force=True
    )  # the box before the second row
    assert nearest(page) == THAI["grapes"]


def test_picture_added_to_others_is_shown_first(visit: Visit) -> None:
    page = visit()
    bring(page, ("banana.jpg", jpeg(draw("banana", 50))))
    assert nearest(page) == THAI["banana"]
    bring(page, ("grapes.jpg", jpeg(draw("grapes", 50))))
    page.get_by_text("2 pictures in").wait_for()
    page.locator(".w-bar .name").first.get_by_text(THAI["grapes"]).wait_for()


def test_photo_from_the_camera_is_answered(visit: Visit) -> None:
    page = visit()
    page.get_by_role("radio", name="Take a photo").click()
    shutter = page.get_by_test_id("stCameraInputButton")
    shutter.wait_for()
    page.wait_for_function("!document.querySelector('[data-testid=stCameraInputButton]').disabled")
    # The button is ready before the video is: a black frame would be taken.
    page.wait_for_function("[...document.querySelectorAll('video')].some(video => video.currentTime > 0.2)")
    shutter.click()
    assert nearest(page) == THAI[ON_CAMERA]


def test_live_camera_is_answered_over_the_video_until_it_is_stopped(visit: Visit) -> None:
    page = visit("live")
    page.get_by_role("button", name="Start the camera").click()
    page.locator(".live .bars .name", has_text=THAI[ON_CAMERA]).wait_for()
    assert "%" in page.locator(".stage .sure").inner_text()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Start the camera").wait_for()
    assert page.locator(".stage .label").is_hidden()
    assert page.locator("video").evaluate("video => video.srcObject") is None


def test_live_camera_lets_go_when_another_page_is_opened(visit: Visit) -> None:
    page = visit("live")
    page.evaluate(
        "() => { const media = navigator.mediaDevices, open = media.getUserMedia.bind(media);"
        " media.getUserMedia = async (wanted) => (window.opened = await open(wanted)); }"
    )
    page.get_by_role("button", name="Start the camera").click()
    page.locator(".live .bars .name", has_text=THAI[ON_CAMERA]).wait_for()
    page.get_by_role("link", name="About the model").click()
    page.get_by_role("heading", name="How good is this model?").wait_for()
    page.wait_for_function("window.opened.getTracks().every((track) => track.readyState === 'ended')")


def test_refused_camera_says_what_to_do(visit: Visit) -> None:
    page = visit("live")
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError') } }"
    )
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text("The browser was not allowed to use the camera").wait_for()


def test_picture_of_something_else_is_unknown(visit: Visit) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    page = visit()
    bring(page, ("noise.png", encode(noise)))
    assert answer(page)[0] == UNKNOWN
    assert page.get_by_text("It looks like nothing the model has learned").is_visible()


def test_broken_file_gets_a_clear_message_and_the_app_lives_on(visit: Visit) -> None:
    page = visit()
    for name, data, words in (
        ("letter.jpg", b"Dear whatsit", "This is not a picture in a format we read"),
        ("nothing.jpg", b"", "The file is empty"),
        ("half.jpg", jpeg(draw("mango", 1))[:3000], "The picture is damaged or cut short"),
        ("phone.heic", b"\0\0\0\x18ftypheic" + bytes(100), "The picture is damaged or cut short"),
    ):
        bring(page, (name, data))
        page.get_by_text(f"“{name}” could not be read").wait_for()  # the words alone may be those of the file before
        page.get_by_text(words).wait_for()
        bring(page, ("mango.jpg", jpeg(draw("mango", 50))), ("grapes.jpg", jpeg(draw("grapes", 50))))
        page.get_by_text("3 pictures in").wait_for()
        page.get_by_role("button", name="Clear").click()
        page.get_by_text("Drop one picture, or a hundred").wait_for()


def test_file_above_the_limit_gets_a_clear_message(visit: Visit, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(51 * 1024 * 1024)
    page = visit()
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(large)
    field = page.get_by_test_id("stFileUploader")
    page.get_by_test_id("stFileChipIconError").wait_for()
    assert "larger than 50 MB" in field.evaluate("field => getComputedStyle(field, '::after').content")


def test_photo_of_30_megapixels(visit: Visit, fruit_run: Run) -> None:
    data = jpeg(draw("watermelon", 7, (6720, 4480)))
    [wanted] = fruit_run.load().predict([data])
    page = visit()
    bring(page, ("large.jpg", data))
    assert answer(page) == shown(wanted)
    assert page.locator(".w-picture img").first.evaluate("image => image.naturalWidth") == 1024


def test_turned_photo_gets_the_answer_of_the_command_line(visit: Visit, fruit_run: Run, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    turned = tmp_path / "turned.jpg"
    turned.write_bytes(jpeg(draw("banana", 51).transpose(Image.Transpose.ROTATE_90), exif=exif))
    command = [sys.executable, "-m", "whatsit.apps.cli", "predict", fruit_run.folder, turned, "--json"]
    said = json.loads(subprocess.run(list(map(str, command)), capture_output=True, check=True).stdout)
    page = visit()
    bring(page, (turned.name, turned.read_bytes()))
    assert answer(page) == (said["label"], f"{percent(said['probability'])} sure")
    height, width = page.locator(".w-picture img").first.evaluate("i => [i.naturalHeight, i.naturalWidth]")
    assert width > height


def test_pictures_stay_when_another_page_is_looked_at(visit: Visit) -> None:
    page = visit()
    bring(page, ("mango.jpg", jpeg(draw("mango", 50))))
    assert nearest(page) == THAI["mango"]
    page.get_by_role("link", name="About the model").click()
    page.get_by_role("heading", name="How good is this model?").wait_for()
    page.get_by_role("link", name="Pictures").click()
    assert nearest(page) == THAI["mango"]
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("Drop one picture, or a hundred").wait_for()


def test_visitors_never_see_each_others_pictures(visit: Visit) -> None:
    first, second = visit(), visit()
    bring(first, ("secret-mango.jpg", jpeg(draw("mango", 50))))
    bring(second, ("my-grapes.jpg", jpeg(draw("grapes", 50))))
    assert nearest(first) == THAI["mango"]
    assert nearest(second) == THAI["grapes"]
    assert "secret" not in second.content()
    for image in first.locator(".w-picture img").all():  # in the page itself, so that the server cannot be asked for it
        assert str(image.get_attribute("src")).startswith("data:image/jpeg;base64,")


def test_other_model_answers_when_it_is_chosen(visit: Visit) -> None:
    page = visit()
    bring(page, ("disc.png", encode(shapes("disc", 7))))
    answer(page)
    page.get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name="baseline").click()
    page.locator(".w-bar .name", has_text="columns").wait_for()
    assert set(page.locator(".w-bar .name").all_inner_texts()) == {"columns", "disc", "rows"}


def test_two_choices_in_a_row_both_count(visit: Visit) -> None:
    page = visit()
    for name in ("baseline", "hostile"):
        page.get_by_role("combobox", name="Model").click()
        page.get_by_role("option", name=name).click()
        page.locator(".w-about strong", has_text=name).wait_for()


def test_model_page_shows_how_good_it_is(visit: Visit, baseline_run: Run) -> None:
    page = visit("model?model=baseline")
    for heading in (
        "Good enough?",
        "Each kind",
        "What is taken for what",
        "Can its confidence be believed?",
        "How it learned",
    ):
        page.get_by_role("heading", name=heading).wait_for()
    metrics = baseline_run.test
    assert page.locator(".w-tile b").first.inner_text().replace("\u00a0", " ") == percent(metrics.accuracy)
    page.locator(".w-table td", has_text="disc").wait_for()
    page.wait_for_function("document.querySelectorAll('[data-testid=stVegaLiteChart] svg').length === 5")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the full report").click()
    assert b"<html" in Path(download.value.path()).read_bytes()


def test_names_that_look_like_code_are_only_shown(visit: Visit) -> None:
    page = visit("?model=hostile")
    alarms: list[str] = []
    page.on("dialog", lambda dialog: (alarms.append(dialog.message), dialog.dismiss()))
    bring(page, *(("<img src=x onerror=alert(1)>.png", encode(shapes(kind, 7))) for kind in ("disc", "rows")))
    page.get_by_text("2 pictures in").wait_for()
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("Drop one picture, or a hundred").wait_for()
    bring(page, ("**bold**.png", encode(shapes("disc", 7))))
    nearest(page)
    assert set(page.locator(".w-bar .name").all_inner_texts()) == set(HOSTILE.values())
    page.get_by_role("link", name="About the model").click()
    page.get_by_role("heading", name="The worst mistakes").wait_for()
    page.locator(".w-two img").nth(1).wait_for()
    page.get_by_role("cell", name="<script>alert(1)</script>", exact=True).wait_for()
    assert alarms == []


def test_nothing_is_written(visit: Visit, app_folder: Path) -> None:
    page = visit()
    bring(page, ("large.jpg", jpeg(draw("watermelon", 7, (3000, 2000)))))
    answer(page)
    assert [path.name for path in (app_folder / HOME).rglob("*")] == []
    assert {path.name for path in app_folder.iterdir()} == {HOME, "server.log"}
    assert "Traceback" not in (app_folder / "server.log").read_text()
