"""The folder that `whatsit export --format web` writes, without a browser."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import whatsit
from tests.command import whatsit as command
from tests.conftest import Listener
from whatsit.bundle.read import read_bundle
from whatsit.bundle.website import WebOptions, read_website
from whatsit.engines.exported import open_exported
from whatsit.errors import BundleError, ModelError, UsageError
from whatsit.evaluation.browser import check_website
from whatsit.evaluation.parity import make_proof, reference_pixels
from whatsit.verbs.verify import verify

WEB = Path(__file__).parent.parent.parent / "src" / "whatsit" / "bundle" / "web"
IMPORT = re.compile(r"""^(?:import|export)\b[^'"]*?from\s*['"](\./[\w./-]+)['"]""", re.MULTILINE)


def test_the_folder_has_every_file_that_its_scripts_ask_for(website: Path) -> None:
    kept = json.loads(re.search(r"const FILES = (\[.*\]);", (website / "sw.js").read_text())[1])
    imported = [
        (script.parent / name).relative_to(website)
        for script in website.glob("*.js")
        for name in IMPORT.findall(script.read_text(encoding="utf-8"))
    ]
    assert imported
    assert [name for name in [*kept, *imported] if not (website / name).is_file()] == []


def test_it_says_how_good_the_model_is(website: Path, baseline_run) -> None:
    about = json.loads((website / "about.json").read_text(encoding="utf-8"))
    test = baseline_run.test
    assert about["test"]["accuracy"] == test.accuracy
    assert (about["test"]["low"], about["test"]["high"]) == tuple(test.accuracy_ci95)
    assert about["test"]["n"] == test.n
    assert about["test"]["refused"] == baseline_run.examination.refused


def test_the_module_for_other_pages_is_small(website: Path) -> None:
    assert (website / "whatsit.js").stat().st_size <= 10_000


def test_weights_of_16_bits_take_half_the_space(website: Path, baseline_run, tmp_path: Path) -> None:
    [exported] = whatsit.export(baseline_run.model, "web", out=tmp_path)  # int16
    half, whole = ((folder / "model.onnx").stat().st_size for folder in (exported.path, website))
    assert half < 0.75 * whole
    pixels, expected = reference_pixels(read_bundle(baseline_run.model))
    found = open_exported(exported.path / "model.onnx")(pixels)
    assert np.abs(found - expected).max() < 1e-3
    assert exported.gate is not None


def test_a_page_that_the_gate_refuses_is_named_so(
    baseline_run, runtime: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whatsit.evaluation.gate.LEAST_AGREEMENT", 1.1)
    [exported] = whatsit.export(baseline_run.model, "web", out=tmp_path, web=WebOptions(precision="int8"))
    assert exported.rejected
    assert (tmp_path / "web-REJECTED" / "index.html").is_file()
    assert not (tmp_path / "web").exists()


def test_a_model_file_alone_needs_no_pictures(baseline_run, runtime: Any, tmp_path: Path) -> None:
    model = tmp_path / "shapes.whatsit"
    model.write_bytes(baseline_run.model.read_bytes())
    [exported] = whatsit.export(model, "web")
    assert exported.path == tmp_path / "shapes-export" / "web"
    assert json.loads((exported.path / "about.json").read_text())["name"] == "shapes"


@pytest.mark.parametrize(("given", "path"), [("/shop/", "/shop/"), ("en/shop", "/en/shop/"), ("/", "/")])
def test_the_base_path_is_in_the_page_and_the_manifest(
    baseline_run, runtime: Any, tmp_path: Path, given: str, path: str
) -> None:
    [exported] = whatsit.export(baseline_run.model, "web", out=tmp_path, web=WebOptions(base_path=given))
    assert f'<base href="{path}">' in (exported.path / "index.html").read_text(encoding="utf-8")
    assert json.loads((exported.path / "manifest.webmanifest").read_text())["scope"] == path


@pytest.mark.parametrize("path", ["/a/../b/", '/"><script>/', "https://example.org/", "/a b/", "/a?b/"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="--base-path is the path of the page on its site"):
        WebOptions(base_path=path)


def test_a_model_too_large_for_a_page_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"300 MB are too many for a web page: at most 200 MB; export one of its members"
    ):
        WebOptions().require_room(300_000_000)
    with pytest.raises(ModelError, match=r"80 MB are too many for a single file: at most 25 MB; export the folder"):
        WebOptions(single_file=True).require_room(80_000_000)


@pytest.mark.parametrize("option", ["--single-file", "--precision=int8", "--base-path=/a/", "--runtime=x"])
def test_options_of_the_page_need_the_format(baseline_run, option: str) -> None:
    done = command("export", baseline_run.model, "--format", "onnx", option)
    assert done.returncode == 2
    assert f"{option.split('=')[0]} is for --format web only; received --format onnx" in done.stderr


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown precision 'float15'; did you mean 'float16'\?"):
        WebOptions(precision="float15")


def test_a_single_file_holds_the_model(baseline_run, runtime: Any, tmp_path: Path) -> None:
    options = WebOptions(precision="float32", single_file=True)
    [exported] = whatsit.export(baseline_run.model, "web", out=tmp_path, web=options)
    assert exported.path == tmp_path / "web.html"
    about, graph = read_website(exported.path)
    assert about["classes"] == ["columns", "disc", "rows"]
    assert len(graph) == about["files"]["model.onnx"]


@pytest.mark.parametrize("single_file", [False, True])
def test_pages_that_whatsit_did_not_write_stay(baseline_run, tmp_path: Path, single_file: bool) -> None:
    mine = tmp_path / "web.html" if single_file else tmp_path / "web" / "index.html"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(UsageError, match="is there already, and whatsit did not write it"):
        whatsit.export(baseline_run.model, "web", out=tmp_path, web=WebOptions(single_file=single_file))
    assert mine.read_text() == "mine"


def test_a_page_without_its_model_is_no_website(website: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"this is no page of a model, or it is incomplete"):
        read_website(tmp_path / "model.onnx")


def test_texts_are_the_same_in_both_languages() -> None:
    english, thai = (WEB / "texts.js").read_text(encoding="utf-8").split("  th: {")
    keys = [re.findall(r"^    '([\w.-]+)': (.*)$", text, re.MULTILINE) for text in (english, thai)]
    placeholders: Callable[[str], list[str]] = lambda text: sorted(re.findall(r"\{\w+\}", text))  # noqa: E731
    first, second = ({key: placeholders(text) for key, text in found} for found in keys)
    assert first == second
    assert len(first) > 40


def test_no_script_sets_html() -> None:
    """What people named may look like HTML."""
    scripts = [path for path in WEB.rglob("*") if path.suffix in (".js", ".html")]
    assert scripts
    assert [
        path
        for path in scripts
        if re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write", path.read_text("utf-8"))
    ] == []


@pytest.mark.parametrize("missing", ["chromium", "playwright"])
def test_without_a_browser_the_page_is_not_verified_and_a_line_says_why(
    website: Path, baseline_run, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "chromium":
        pytest.importorskip("playwright")
        monkeypatch.setattr("whatsit.evaluation.browser.find_chromium", lambda: None)
    else:
        find = importlib.util.find_spec
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name, *more: None if name == "playwright" else find(name, *more)
        )
    listener = Listener()
    results = verify(baseline_run.model, exports=website.parent, reporter=listener)
    assert [result.way for result in results if "web" in result.way] == ["web/model.onnx"]
    assert all(result.passed for result in results)
    [warning] = [text for text in listener.warned if "was not verified" in text]
    assert ("apt-get install chromium" if missing == "chromium" else "pip install 'whatsit[browser]'") in warning


def test_a_page_that_gives_other_answers_fails(baseline_run, runtime: Any, tmp_path: Path) -> None:
    """As after somebody changed the graph of a page that is online."""
    [exported] = whatsit.export(baseline_run.model, "web", out=tmp_path, web=WebOptions(precision="float32"))
    graph = onnx.load(exported.path / "model.onnx")
    weights = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(weights)
    weights.CopyFrom(onnx.numpy_helper.from_array(values[..., ::-1].copy(), weights.name))
    (exported.path / "model.onnx").write_bytes(graph.SerializeToString())
    found = next(check_website(exported.path / "model.onnx", make_proof(read_bundle(baseline_run.model)), Listener()))
    assert not found.passed
