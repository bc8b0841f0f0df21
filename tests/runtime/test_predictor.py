from __future__ import annotations

import dataclasses
import io
import math
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

import whatsit
from tests.conftest import encode, shapes
from whatsit.bundle.format import Bundle, InputSpec
from whatsit.bundle.read import read_bundle
from whatsit.engines import available, open_engine
from whatsit.errors import BundleError, ImageError, ModelError, UsageError
from whatsit.images.decode import RULES
from whatsit.run.record import Run
from whatsit.runtime.predictor import Predictor

PICTURES = [encode(shapes(kind, 1000 + i)) for i, kind in enumerate(["disc", "rows", "columns"] * 7)]


@pytest.fixture(scope="module", params=available())
def predictor(request: pytest.FixtureRequest, baseline_run: Run) -> Predictor:
    return Predictor(baseline_run.model, runtime=request.param)


def test_list_in_list_out(predictor: Predictor) -> None:
    assert predictor.predict([]) == []
    [answer] = predictor.predict([PICTURES[0]], top=2)
    assert answer.label in predictor.classes
    assert answer.top[0] == (answer.label, answer.probability)
    assert len(answer.top) == 2
    assert answer.top[0][1] >= answer.top[1][1]
    assert answer.unknown is False


def test_single_picture_instead_of_a_list_is_a_mistake(predictor: Predictor) -> None:
    with pytest.raises(TypeError, match=r"predict\(\[picture\]\)"):
        predictor.predict("cat.jpg")


def test_learned_what_it_was_shown(predictor: Predictor) -> None:
    answers = predictor.predict(PICTURES)
    right = [a.label == kind for a, kind in zip(answers, ["disc", "rows", "columns"] * 7, strict=True)]
    assert sum(right) >= 18  # of 21; seeds 0 to 19: 21


def test_batch_equals_one_by_one(predictor: Predictor) -> None:
    together = predictor.predict(PICTURES, top=3)
    for picture, answer in zip(PICTURES, together, strict=True):
        [alone] = predictor.predict([picture], top=3)
        assert dict(alone.top) == pytest.approx(dict(answer.top), abs=1e-5)


def test_path_bytes_and_pil_image_get_the_same_answer(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PICTURES[0])
    answers = [
        predictor.predict([source])[0]
        for source in (tmp_path / "a.png", str(tmp_path / "a.png"), PICTURES[0], Image.open(io.BytesIO(PICTURES[0])))
    ]
    assert answers == [answers[0]] * 4


def test_runtimes_agree(baseline_run: Run) -> None:
    rows = []
    for runtime in available():
        predictor = Predictor(baseline_run.model, runtime=runtime)
        rows.append(np.array([answer.probabilities for _, answer in predictor.answers_each(PICTURES, lambda p: p)]))
    assert all(np.abs(row - rows[0]).max() <= 1e-4 for row in rows)


def test_same_graph_with_other_thresholds_is_not_compiled_again(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    [before] = predictor.predict([PICTURES[0]])
    rule = dataclasses.replace(predictor.bundle.unknown, threshold=-math.inf)
    compiled: list[bytes] = []
    really = open_engine
    monkeypatch.setattr(
        "whatsit.runtime.predictor.open_engine",
        lambda graph, *more, **settings: compiled.append(graph) or really(graph, *more, **settings),
    )
    other = predictor.with_bundle(dataclasses.replace(predictor.bundle, unknown=rule))
    assert compiled == []
    assert other.predict([PICTURES[0]]) == [dataclasses.replace(before, unknown=True)]
    assert predictor.predict([PICTURES[0]]) == [before]
    assert pickle.loads(pickle.dumps(other)).bundle.unknown == rule


def test_another_graph_or_other_outputs_are_opened_anew(predictor: Predictor) -> None:
    [before] = predictor.predict([PICTURES[0]])
    alone = predictor.with_bundle(dataclasses.replace(predictor.bundle, unknown=None))
    [answer] = alone.answer(np.zeros((1, *alone.size, 3), np.uint8))
    assert np.isnan(answer.ood_score)
    graph = onnx.load_from_string(predictor.bundle.graph)
    for tensor in graph.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.ndim == 4:
            tensor.CopyFrom(numpy_helper.from_array(value[::-1].copy(), tensor.name))
    other = predictor.with_bundle(dataclasses.replace(predictor.bundle, graph=graph.SerializeToString()))
    assert other.predict([PICTURES[0]]) != [before]
    assert other.runtime == predictor.runtime


def test_unreadable_picture_is_named(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.jpg: there is no such file"):
        predictor.predict([tmp_path / "none.jpg"])
    with pytest.raises(ImageError, match="picture 2: the file holds text"):
        predictor.predict([PICTURES[0], b"text", PICTURES[1]])


def test_each_picture_gets_its_answer_or_its_error_in_order(predictor: Predictor) -> None:
    pictures = [b"", *PICTURES, b"text", PICTURES[0], *([b"text"] * 20)]
    answers = [answer for _, answer in predictor.predict_each(pictures, lambda p: p)]
    assert [isinstance(answer, ImageError) for answer in answers] == [len(p) < 10 for p in pictures]
    assert answers[1] == answers[len(PICTURES) + 2]


def test_nothing_but_unreadable_pictures(predictor: Predictor) -> None:
    answers = [answer for _, answer in predictor.predict_each([b""] * 30, lambda p: p)]
    assert [str(answer) for answer in answers] == ["the file is empty (0 bytes)"] * 30


def test_picture_of_nothing_is_unknown(predictor: Predictor) -> None:
    noise = encode(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    assert predictor.predict([noise])[0].unknown
    assert sum(answer.unknown for answer in predictor.predict(PICTURES)) <= len(PICTURES) // 3


def test_bundle_without_a_rule_never_says_unknown(predictor: Predictor) -> None:
    bundle = dataclasses.replace(predictor.bundle, unknown=None)
    noise = encode(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    assert not Predictor(bundle).predict([noise])[0].unknown


def test_prediction_set_grows_with_the_coverage(predictor: Predictor) -> None:
    sets = [predictor.predict(PICTURES, coverage=coverage) for coverage in (0.1, 0.5, 0.999)]
    for small, middle, large in zip(*sets, strict=True):
        assert small.labels == (small.label,)
        assert set(small.labels) <= set(middle.labels or ()) <= set(large.labels or ())
        assert set(large.labels or ()) == set(predictor.classes)  # too few pictures to promise that much


@pytest.mark.parametrize("coverage", [0.0, 1.0, -1.0, float("nan")])
def test_coverage_out_of_range(predictor: Predictor, coverage: float) -> None:
    with pytest.raises(UsageError, match="the coverage must be between 0 and 1"):
        predictor.predict(PICTURES, coverage=coverage)


def test_coverage_needs_a_bundle_that_can_promise(predictor: Predictor) -> None:
    with pytest.raises(UsageError, match="cannot promise a coverage"):
        Predictor(dataclasses.replace(predictor.bundle, conformal=None)).predict(PICTURES, coverage=0.9)


def test_threads_share_a_predictor(predictor: Predictor) -> None:
    wanted = [answer.label for answer in predictor.predict(PICTURES)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda p: predictor.predict([p])[0].label, PICTURES)) == wanted


def test_lazy_names_of_the_package(baseline_run: Run) -> None:
    assert isinstance(whatsit.load(baseline_run.folder), whatsit.Predictor)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        whatsit.trian  # noqa: B018


def test_unknown_runtime_is_refused(baseline_run: Run) -> None:
    with pytest.raises(UsageError, match="unknown runtime 'tpu'"):
        Predictor(baseline_run.model, runtime="tpu")


def test_graph_that_does_not_fit_its_bundle_is_refused(baseline_run: Run) -> None:
    bundle = read_bundle(baseline_run.model)
    with pytest.raises(BundleError, match=r"gives an array \(2, 3\) for 2 pictures, not probabilities for 4 classes"):
        Predictor(dataclasses.replace(bundle, classes=(*bundle.classes, "extra")))
    with pytest.raises(BundleError, match="does not run on its own input size"):
        Predictor(dataclasses.replace(bundle, input=dataclasses.replace(bundle.input, height=17)))


def test_graph_that_answers_no_probabilities_is_refused(baseline_run: Run) -> None:
    import onnx
    from onnx import numpy_helper

    bundle = read_bundle(baseline_run.model)
    model = onnx.load_from_string(bundle.graph)
    [bias] = [tensor for tensor in model.graph.initializer if tensor.name == "logits.bias"]
    bias.CopyFrom(numpy_helper.from_array(np.full(3, np.nan, np.float32), "logits.bias"))
    predictor = Predictor(dataclasses.replace(bundle, graph=model.SerializeToString()))
    with pytest.raises(ImageError, match="something else than probabilities from 0 to 1; it is damaged"):
        predictor.predict(PICTURES)
    with pytest.raises(ModelError, match="something else than probabilities"):
        predictor.answer(np.zeros((1, *predictor.size, 3), np.uint8))


def test_arrays_and_open_files_get_the_answer_of_the_file(predictor: Predictor) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(PICTURES[0])).convert("RGB"))
    [expected] = predictor.predict([PICTURES[0]])
    for pictures in ([pixels], pixels[None], [io.BytesIO(PICTURES[0])]):
        [answer] = predictor.predict(pictures)
        assert dict(answer.top) == pytest.approx(dict(expected.top), abs=1e-6)
    assert len(predictor.predict([pixels, pixels[..., 0]])) == 2


@pytest.mark.parametrize(
    "picture", [np.zeros((8, 8, 3), np.uint8), io.BytesIO(PICTURES[0]), Image.new("RGB", (8, 8))], ids=type
)
def test_single_picture_of_any_sort_instead_of_a_list_is_a_mistake(predictor: Predictor, picture: object) -> None:
    with pytest.raises(TypeError, match=r"predict\(\[picture\]\)"):
        predictor.predict(picture)


def test_float_array_is_refused_with_its_place(predictor: Predictor) -> None:
    with pytest.raises(ImageError, match=r"picture 2: an array must be uint8.*received float64 \[8, 8, 3\]"):
        predictor.predict([PICTURES[0], np.zeros((8, 8, 3))])


def test_pickled_it_is_its_path_and_settings(predictor: Predictor) -> None:
    content = pickle.dumps(predictor)
    assert len(content) < 2000  # bytes; the model is some hundred thousand
    again = pickle.loads(content)
    assert again.runtime == predictor.runtime
    assert again.predict(PICTURES[:3]) == predictor.predict(PICTURES[:3])


def test_pickled_it_finds_its_file_from_another_folder(
    baseline_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(baseline_run.model.parent)
    content = pickle.dumps(Predictor(baseline_run.model.name))
    monkeypatch.chdir(tmp_path)
    assert len(pickle.loads(content).predict(PICTURES[:1])) == 1


FORKS = """
import multiprocessing, sys, warnings
import whatsit
from whatsit.bundle.format import Bundle, InputSpec
from whatsit.bundle.read import read_bundle

path, runtime = sys.argv[1:]
pictures = [item.data for item in read_bundle(path).references] * 3
predictor = whatsit.load(path, runtime=runtime)
probabilities = [answer.probability for answer in predictor.predict(pictures)]

def work(_):
    found = [answer.probability for answer in predictor.predict(pictures)]
    alone = whatsit.load(path, runtime=runtime).predict(pictures[:1])[0].probability  # opened after the fork
    return max(abs(a - b) for a, b in zip([*found, alone], [*probabilities, probabilities[0]]))

with multiprocessing.get_context("fork").Pool(2) as pool:
    print(max(pool.map_async(work, range(4)).get(50)))
predictor.predict(pictures)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("runtime", available())
def test_forked_processes_are_answered(runtime: str, baseline_run: Run) -> None:
    """As in `gunicorn --preload`, a PyTorch `DataLoader` or a `Pool` on Linux. Runtimes' threads stay in the parent."""
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(baseline_run.model), runtime]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1e-4


def failing_bundle(classes: tuple[str, ...] = ("a", "b")) -> Bundle:
    """A model that answers for black pictures, and whose graph fails on every batch with another one in it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["image"], ["whole"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["whole"], ["brightest"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Add", ["brightest", "one"], ["count"]),
        helper.make_node("Slice", ["ten", "zero", "count"], ["some"]),  # of one value, or of ten
        helper.make_node("Add", ["some", "seven"], ["more"]),  # one and seven can be added, ten and seven cannot
        helper.make_node("ReduceMax", ["more"], ["same"], keepdims=0),
        helper.make_node("Cast", ["same"], ["factor"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "second"], ["column"]),
        helper.make_node("MatMul", ["column", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["shares"], axis=1),
        helper.make_node("Mul", ["shares", "factor"], ["probabilities"]),
    ]
    constants = {
        "one": np.array([1], np.int64),
        "zero": np.array([0], np.int64),
        "seven": np.zeros(7, np.int64),
        "ten": np.ones(10, np.int64),
        "second": np.array([1], np.int64),
        "weights": np.ones((1, 2), np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "fails",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 4, 4, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return Bundle(classes, InputSpec(4, 4, RULES[-1]), model.SerializeToString())


@pytest.mark.parametrize("count", [1, 3, 8, 100])
@pytest.mark.parametrize("runtime", available())
def test_picture_on_which_the_graph_fails_costs_no_other(runtime: str, count: int) -> None:
    predictor = Predictor(failing_bundle(), runtime=runtime)
    black, white = (np.full((4, 4, 3), value, np.uint8) for value in (0, 255))
    pictures = [white if place % 30 == 0 else black for place in range(count)]
    items = [*range(count)]
    found = list(predictor.predict_each(items, lambda place: pictures[place]))
    assert [place for place, _ in found] == items
    failed = [place for place, answer in found if isinstance(answer, ImageError)]
    assert failed == items[::30]
    error = found[0][1]
    assert isinstance(error, ImageError)
    assert (error.reason, "the model fails on this picture" in str(error)) == ("model", True)
    assert "\n" not in str(error)


def test_unreadable_pictures_stay_in_their_places_where_the_graph_fails() -> None:
    predictor = Predictor(failing_bundle(), runtime="onnxruntime")
    white = np.full((4, 4, 3), 255, np.uint8)
    pictures = [b"no picture", white, np.zeros_like(white)] * 20
    reasons = [getattr(answer, "reason", "") for _, answer in predictor.predict_each(pictures, lambda picture: picture)]
    assert reasons == ["format", "model", ""] * 20


def test_one_picture_on_which_the_graph_fails_is_named(tmp_path: Path) -> None:
    path = tmp_path / "white.png"
    Image.new("RGB", (8, 8), "white").save(path)
    with pytest.raises(ImageError, match=r"white\.png: the model fails on this picture"):
        Predictor(failing_bundle()).predict([path])
