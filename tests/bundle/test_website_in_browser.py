"""The page of a model in a real browser: its answers, its errors, without a network, within other pages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import whatsit
from tests.browser import CHROMIUM, camera_video, chromium
from tests.conftest import CLASSES, HOSTILE, encode, shapes
from tests.prices import overruling
from whatsit.bundle.read import read_bundle
from whatsit.bundle.website import WebOptions
from whatsit.evaluation.browser import check_website
from whatsit.evaluation.parity import make_proof
from whatsit.runtime.explain import Explainer
from whatsit.runtime.occlusion import occlusion_maps
from whatsit.verbs.costs import put_costs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

READY = "html[data-ready], #failure:not([hidden])"
DONE = ".result[data-done]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, whose camera looks at a disc."""
    video = tmp_path_factory.mktemp("camera") / "disc.mjpeg"
    with chromium(camera_video(video, [Image.fromarray(shapes("disc", 100))])) as opened:
        yield opened


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A function that opens a page as a new visitor and waits until it is ready or has failed."""
    contexts = []

    def visit(address: str, locale: str = "en-US", wait: str = READY, prepare: Any = None, **options: Any) -> Page:
        context = browser.new_context(locale=locale, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.errors = []  # type: ignore[attr-defined]
        page.on("pageerror", lambda error: page.errors.append(str(error)))  # type: ignore[attr-defined]
        if prepare:
            prepare(page)
        page.goto(address)
        page.wait_for_selector(wait, state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()


def file(name: str = "disc.png", kind: str = "disc", seed: int = 7) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/png", "buffer": encode(shapes(kind, seed))}


def failure(page: Page) -> str:
    return page.inner_text("#failure-text")


def test_the_page_answers_every_file_as_the_model_does(website: Path, baseline_run) -> None:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    warnings: list[str] = []
    reporter: Any = type("Listening", (), {"warn": lambda _, text: warnings.append(text)})()
    proof = make_proof(read_bundle(baseline_run.model))
    graph, page = check_website(website / "model.onnx", proof, reporter)
    assert graph.passed
    assert page.passed, page
    assert page.max_difference < 1e-3
    assert warnings == []


def test_a_page_that_calls_other_pictures_unknown_than_the_model_is_found_out(website: Path, baseline_run) -> None:
    warnings: list[str] = []
    reporter: Any = type("Listening", (), {"warn": lambda _, text: warnings.append(text)})()
    proof = make_proof(read_bundle(baseline_run.model)).every(12)
    assert proof.bundle.unknown
    first = proof.wanted[0]
    other = 0.0 if proof.is_unknown(first) else 10 * proof.bundle.unknown.threshold
    wrong = replace(proof, wanted=(replace(first, ood_score=other), *proof.wanted[1:]))
    graph = next(check_website(website / "model.onnx", wrong, reporter))
    assert [text.partition(": ")[2] for text in warnings] == [
        f"of {len(proof.wanted)} pictures, 1 are unknown to the page and not to the model, or to the model only"
    ]
    assert not graph.passed


@pytest.mark.usefixtures("browser")
def test_a_page_is_proven_where_an_event_loop_runs(website: Path, baseline_run) -> None:
    """As in a notebook: the browser of these tests runs one."""
    proof = make_proof(read_bundle(baseline_run.model)).every(12)
    *_, page = check_website(website / "model.onnx", proof, None)  # type: ignore[arg-type]
    assert page.passed, page


def test_a_single_file_answers_without_a_host(baseline_run, runtime: Any, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    options = WebOptions(precision="float32", single_file=True)
    [exported] = whatsit.export(baseline_run.model, "web", out=tmp_path, web=options)
    proof = make_proof(read_bundle(baseline_run.model)).every(4)
    _, page = check_website(exported.path, proof, None)  # type: ignore[arg-type]
    assert page.passed, page


def test_the_page_answers_what_costs_least_and_says_why(
    baseline_run, runtime: Any, host, visit, tmp_path: Path
) -> None:
    costs = overruling(baseline_run.model, "rows", [file()["buffer"]])
    put_costs(baseline_run.folder, costs, tmp_path / "careful.whatsit")
    [exported] = whatsit.export(tmp_path / "careful.whatsit", "web", out=tmp_path, web=WebOptions())
    proof = make_proof(read_bundle(tmp_path / "careful.whatsit")).every(4)
    _, proven = check_website(exported.path / "model.onnx", proof, None)  # type: ignore[arg-type]
    assert proven.passed, proven
    with host(exported.path) as address:
        page = visit(address)
        page.set_input_files("#files", [file()])
        page.wait_for_selector(DONE)
        assert page.inner_text(".result .label") == "rows"
        assert page.inner_text(".result .overruled").startswith("Most probable is disc (")
        page.click("#language")
        assert "แต่ตอบว่า rows" in page.inner_text(".result .overruled")
        assert page.errors == []


def test_pictures_get_answers_with_all_probabilities(website: Path, host, visit, baseline_run) -> None:
    with host(website) as address:
        page = visit(address)
        page.set_input_files("#files", [file(f"{kind}.png", kind) for kind in CLASSES])
        for place in (1, 2, 3):  # they are answered in any order
            page.wait_for_selector(f".result:nth-child({place})[data-done=true]")
        predictions = whatsit.load(baseline_run.model).predict([file(kind=kind)["buffer"] for kind in CLASSES])
        wanted = [prediction.label for prediction in predictions]
        assert page.locator(".result .bar:first-child .name").all_inner_texts() == wanted
        assert page.locator(".result").first.locator(".bar").count() == len(CLASSES)
        assert page.errors == []
        page.click("#clear")
        assert page.locator(".result").count() == 0


def test_the_page_shows_where_the_evidence_lies(website: Path, host, visit, baseline_run) -> None:
    picture = file()["buffer"]
    evidence = Explainer(whatsit.load(baseline_run.model)).explain(picture).evidence
    with host(website) as address:
        page = visit(address)
        found = page.evaluate(
            "async (bytes) => { const { evidence } = await whatsit.model.predict(new Blob([new Uint8Array(bytes)]), { explain: "
            "true }); return [evidence.height, evidence.width, [...evidence.values]]; }",
            list(picture),
        )
        assert np.array(found[2]).reshape(found[:2]) == pytest.approx(evidence, abs=1e-3)
        page.set_input_files("#files", [file()])
        page.wait_for_selector(DONE)
        page.get_by_role("button", name="Show where it looked").click()
        page.get_by_role("button", name="Show the picture").wait_for()
        assert "there lies the evidence for disc" in page.inner_text(".result")


def test_networks_without_a_map_are_explained_by_hiding_parts(website: Path, host, visit) -> None:
    """By logits that are easy to compute in both languages: sums of each colour in a row of the picture's thirds."""
    picture = shapes("disc", 7)

    def logits_of(pixels: np.ndarray) -> np.ndarray:
        return np.stack([pixels[:, 10 * k : 10 * k + 10, :, k].mean(axis=(1, 2)) / 20 for k in range(3)], 1).astype(
            np.float32
        )

    wanted = occlusion_maps(logits_of, picture[None], [int(logits_of(picture[None]).argmax())])[0]
    with host(website) as address:
        found = visit(address).evaluate(
            """async (bytes) => {
                const { evidenceOf } = await import(new URL('evidence.js', document.baseURI).href);
                const logitsOf = async (pixels) => Float32Array.from({ length: 3 * pixels.length / 3072 }, (_, i) => {
                    const [n, k] = [Math.floor(i / 3), i % 3];
                    let sum = 0;
                    for (let place = 320 * k; place < 320 * k + 320; place += 1) sum += pixels[3072 * n + 3 * place + k];
                    return sum / 320 / 20;
                });
                const pixels = Uint8Array.from(bytes);
                const probabilities = await logitsOf(pixels);
                const size = { width: 32, height: 32 };
                return [...(await evidenceOf({ outputs: {}, probabilities, pixels, logitsOf, ...size })).values];
            }""",
            picture.ravel().tolist(),
        )
    assert np.array(found).reshape(8, 8) == pytest.approx(wanted / wanted.max(), abs=1e-3)


def test_the_page_says_how_good_the_model_is_in_two_languages(website: Path, host, visit) -> None:
    with host(website) as address:
        page = visit(address)
        assert "of 100 test pictures that it had never seen before (likely between" in page.inner_text("#good")
        page.click("#language")
        assert "จาก 100 รูปทดสอบที่ไม่เคยเห็นมาก่อน" in page.inner_text("#good")
        assert page.get_attribute("html", "lang") == "th"
        page.reload()
        page.wait_for_selector(READY, state="attached")
        assert page.inner_text("h1") == "นี่คืออะไร?"


@pytest.mark.parametrize(
    ("refused", "english", "thai"),
    [
        (0.111, "and said so wrongly of 11 in 100 of the test pictures.", "ผิด 11 ใน 100 รูปทดสอบ"),
        (0.0, "and said so wrongly of 0 in 100 of the test pictures.", "ผิด 0 ใน 100 รูปทดสอบ"),
        (
            None,
            "It is meant to say so wrongly of about 5 in 100 pictures of its kinds; nobody has measured",
            "ราว 5 ใน 100 รูป",
        ),
    ],
)
def test_the_page_says_how_often_good_pictures_were_unknown(
    refused: float | None, english: str, thai: str, website: Path, host, visit, tmp_path: Path
) -> None:
    folder = shutil.copytree(website, tmp_path / "web")
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    about["test"]["refused"], about["unknown"]["accepts"] = refused, 0.95
    (folder / "about.json").write_text(json.dumps(about))
    with host(folder) as address:
        page = visit(address)
        assert english in page.inner_text("#good")
        page.click("#language")
        assert thai in page.inner_text("#good")


def test_after_the_first_visit_no_network_is_needed(website: Path, host, visit) -> None:
    with host(website) as address:
        page = visit(address)
        page.wait_for_selector("html[data-offline]", state="attached")
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    page.set_input_files("#files", [file()])
    page.wait_for_selector(DONE)
    assert page.inner_text(".label") == "disc"


def test_the_live_camera_answers(website: Path, host, visit) -> None:
    with host(website) as address:
        page = visit(address, permissions=["camera"])
        page.click("#camera")
        page.wait_for_selector("#live-rate[data-rate]")
        assert page.inner_text("#live-bars .bar:first-child .name") == "disc"
        page.click("#photo")
        page.wait_for_selector(".result[data-done=true]")
        page.click("#close")
        assert page.locator("#live").is_hidden()
        assert page.errors == []


CAMERAS = {
    "error.camera-refused": "Promise.reject(Object.assign(new Error(), { name: 'NotAllowedError' }))",
    "error.camera-none": "Promise.reject(Object.assign(new Error(), { name: 'NotFoundError' }))",
    "error.camera-busy": "Promise.reject(Object.assign(new Error(), { name: 'NotReadableError' }))",
}


def test_a_camera_that_cannot_be_had_is_explained(website: Path, host, visit) -> None:
    said = {}
    with host(website) as address:
        page = visit(address)
        for key, answer in CAMERAS.items():
            page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = () => {answer}; }}")
            page.click("#camera")
            page.wait_for_selector("#problem:not([hidden])")
            page.wait_for_timeout(0)
            said[key] = page.inner_text("#problem")
    assert "allow it for this page" in said["error.camera-refused"]
    assert "No camera was found" in said["error.camera-none"]
    assert "Another program is using the camera" in said["error.camera-busy"]


def test_a_file_that_is_no_picture_is_explained(website: Path, host, visit) -> None:
    with host(website) as address:
        page = visit(address)
        broken = {"name": "<b>x</b>.jpg", "mimeType": "image/jpeg", "buffer": b"nothing"}
        empty = {"name": "empty.png", "mimeType": "image/png", "buffer": b""}
        page.set_input_files("#files", [broken, empty])
        for place in (1, 2):
            page.wait_for_selector(f".result:nth-child({place})[data-done]")
        first, second = page.locator(".failed").all_inner_texts()
    assert first.startswith("<b>x</b>.jpg: This is no picture")
    assert second == "empty.png: This file is empty."


def test_a_host_with_wrong_types_does_not_matter(website: Path, host, visit) -> None:
    types = {".js": "text/plain", ".bin": "text/html", ".onnx": "text/html", ".json": "text/plain"}
    with host(website, types=types) as address:
        page = visit(address)
        page.set_input_files("#files", [file()])
        page.wait_for_selector(DONE)
        assert page.inner_text(".label") == "disc"


@pytest.mark.parametrize("missing", ["model.onnx", "about.json", "ort-wasm.bin", "app.js", "evidence.js"])
def test_an_incomplete_folder_is_explained(website: Path, host, visit, missing: str) -> None:
    with host(website, missing=(missing,)) as address:
        said = failure(visit(address))
    assert said.startswith("The folder on the host is incomplete: ")
    assert missing in said


def test_errors_are_said_in_thai(website: Path, host, visit) -> None:
    with host(website, missing=("model.onnx",)) as address:
        assert failure(visit(address, locale="th-TH")).startswith("โฟลเดอร์บนโฮสต์ไม่ครบ: ไม่พบ model.onnx")


def test_a_browser_without_simd_is_explained(website: Path, host, visit, tmp_path: Path) -> None:
    folder = shutil.copytree(website, tmp_path / "web")
    worker = (folder / "worker.js").read_text(encoding="utf-8")
    (folder / "worker.js").write_text(f"WebAssembly.validate = () => false;\n{worker}", encoding="utf-8")
    with host(folder) as address:
        assert "cannot compute with WebAssembly SIMD" in failure(visit(address))


def test_a_model_that_the_runtime_cannot_run_is_explained(website: Path, host, visit, tmp_path: Path) -> None:
    folder = shutil.copytree(website, tmp_path / "web")
    graph = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(b"\x08\x09" + bytes(len(graph) - 2))
    with host(folder) as address:
        assert "The browser's runtime cannot run this model (" in failure(visit(address))


def test_a_browser_that_computes_otherwise_is_not_trusted(website: Path, host, visit, tmp_path: Path) -> None:
    folder = shutil.copytree(website, tmp_path / "web")
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    (folder / "about.json").write_text(json.dumps(about | {"probe": [1 - about["probe"][0]]}))
    with host(folder) as address:
        assert "(it gives other probabilities here)" in failure(visit(address))


def test_threads_are_used_where_the_host_isolates_the_page(website: Path, host, visit) -> None:
    isolated = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
    with host(website, headers_too=isolated) as address:
        page = visit(address)
        assert page.evaluate("whatsit.model.threads === Math.min(4, navigator.hardwareConcurrency)")
        page.set_input_files("#files", [file()])
        page.wait_for_selector(DONE)
        assert page.inner_text(".label") == "disc"


# In place of the runtime for graphics processors, whose imitation takes half a minute; it computes on the processor.
GRAPHICS = """
import * as ort from './ort.js';
export const { env, Tensor } = ort;
export const InferenceSession = { create: (graph) => ort.InferenceSession.create(graph, { executionProviders: ['wasm'] }) };
"""
ADAPTER = "Object.defineProperty(navigator, 'gpu', { value: { requestAdapter: async () => ({ info: {} }) } });"


@pytest.mark.parametrize(
    ("script", "probe", "used"),
    [(GRAPHICS, 0.0, "webgpu"), (GRAPHICS, 0.005, "wasm"), ("throw new Error('no driver');", 0.0, "wasm")],
    ids=["same", "other", "broken"],
)
def test_graphics_processors_are_used_where_they_give_the_same_answers(
    website: Path, host, visit, tmp_path: Path, script: str, probe: float, used: str
) -> None:
    folder = shutil.copytree(website, tmp_path / "web")
    worker = (folder / "worker.js").read_text(encoding="utf-8")
    (folder / "worker.js").write_text(f"{ADAPTER}\n{worker}", encoding="utf-8")
    (folder / "runtime" / "ort-webgpu.js").write_text(script)
    shutil.copy(folder / "runtime" / "ort-wasm.bin", folder / "runtime" / "ort-webgpu.bin")
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    about["files"]["runtime/ort-webgpu.bin"] = about["files"]["runtime/ort-wasm.bin"]
    about["probe"][0] += probe
    (folder / "about.json").write_text(json.dumps(about))
    with host(folder) as address:
        page = visit(address)
        assert page.evaluate("whatsit.model.runtime") == used
        page.set_input_files("#files", [file()])
        page.wait_for_selector(DONE)
        assert page.inner_text(".label") == "disc"


def test_a_page_opened_as_a_file_says_what_to_do(website: Path, visit) -> None:
    page = visit((website / "index.html").as_uri())
    assert "python -m http.server" in failure(page)
    assert "--single-file" in failure(page)


def test_a_page_below_a_path_also_works_without_the_last_slash(
    baseline_run, runtime: Any, host, visit, tmp_path: Path
) -> None:
    """As `/shop`, which is found beside `/shop/`."""
    options = WebOptions(precision="float32", base_path="/shop/")
    [exported] = whatsit.export(baseline_run.model, "web", out=tmp_path, web=options)
    shutil.copy(exported.path / "index.html", exported.path / "elsewhere.html")
    with host(exported.path, below="/shop/") as address:
        page = visit(f"{address}elsewhere.html")
        assert page.locator("html[data-ready]").count() == 1
        page.wait_for_selector("html[data-offline]", state="attached")


def test_names_that_look_like_html_are_shown_as_text(hostile_run, runtime: Any, host, visit, tmp_path: Path) -> None:
    model = tmp_path / "<img src=x onerror=alert(1)>.whatsit"
    model.write_bytes(hostile_run.model.read_bytes())
    [exported] = whatsit.export(model, "web", out=tmp_path / "out", web=WebOptions(precision="float32"))
    with host(exported.path) as address:
        page = visit(address)
        page.set_input_files("#files", [file()])
        page.wait_for_selector(DONE)
        assert page.inner_text("#name") == "<img src=x onerror=alert(1)>"
        assert page.title() == "<img src=x onerror=alert(1)>"
        assert set(page.locator(".bar .name").all_inner_texts()) == set(HOSTILE.values())
        assert page.locator("main script, main img").count() == 0
        assert page.errors == []


def test_the_module_works_in_a_page_of_its_own(website: Path, host, visit) -> None:
    with host(website) as address:
        page = visit(f"{address}examples/plain.html", wait="html[data-ready]")
        page.set_input_files("#file", [file()])
        page.wait_for_selector("#answer:has-text('disc: ')")
        assert page.errors == []


def test_the_element_works_in_a_page_of_its_own(website: Path, host, visit) -> None:
    with host(website) as address:
        page = visit(f"{address}examples/element.html", wait="whatsit-classifier")
        page.set_input_files("whatsit-classifier input", [file()])
        page.wait_for_selector("#heard:has-text('The page heard: disc')")
        assert page.locator("whatsit-classifier li").count() == 3
        assert page.errors == []


def test_the_module_takes_what_a_page_shows(website: Path, host, visit) -> None:
    with host(website) as address:
        page = visit(f"{address}examples/plain.html", wait="html[data-ready]")
        labels = page.evaluate(
            """async (bytes) => {
                const { load } = await import('../whatsit.js');
                const model = await load('..');
                const data = new Uint8Array(bytes);
                const image = Object.assign(new Image(), { src: URL.createObjectURL(new Blob([data])) });
                await image.decode();
                const canvas = Object.assign(document.createElement('canvas'), { width: 32, height: 32 });
                canvas.getContext('2d').drawImage(image, 0, 0);
                const frame = canvas.getContext('2d').getImageData(0, 0, 32, 32);
                const bitmap = await createImageBitmap(canvas);
                const sources = [data, data.buffer, new File([data], 'a.png'), image, canvas, frame, bitmap];
                const labels = [];
                for (const source of sources) labels.push((await model.predict(source)).label);
                const waiting = model.predict(data).catch((error) => error.code);
                model.close();
                return [...labels, await waiting];
            }""",
            list(file()["buffer"]),
        )
    assert labels == 7 * ["disc"] + ["closed"]


def test_the_model_of_another_host_is_used_with_its_permission(website: Path, host, visit) -> None:
    with host(website) as address, host(website, headers_too={"Access-Control-Allow-Origin": "*"}) as other:
        page = visit(f"{address}examples/plain.html", wait="html[data-ready]")
        label = page.evaluate(
            """async ([other, bytes]) => {
                const { load } = await import('../whatsit.js');
                return (await (await load(other)).predict(Uint8Array.from(bytes))).label;
            }""",
            [other, list(file()["buffer"])],
        )
    assert label == "disc"


def test_a_page_of_another_host_is_told_what_is_wrong(website: Path, host, visit) -> None:
    """Without permission (CORS) no browser gives another site's files away."""
    with host(website) as address, host(website) as other:
        page = visit(f"{address}examples/plain.html", wait="html[data-ready]")
        code = page.evaluate(
            """async (other) => {
                const { load } = await import('../whatsit.js');
                return load(other).catch((error) => error.code);
            }""",
            other,
        )
    assert code == "network"
