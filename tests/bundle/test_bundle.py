from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.engines.test_engines import sums_graph
from whatsit import files
from whatsit.bundle.format import Bundle, Conformal, InputSpec, Reference, UnknownRule
from whatsit.bundle.read import parse_bundle, read_bundle
from whatsit.bundle.write import require_new, write_bundle
from whatsit.errors import BundleError, MissingBundleError, UsageError
from whatsit.files import DiskError

BUNDLE = Bundle(
    classes=("แมว", "<b>dog</b>"),
    input=InputSpec(2, 2, "stretch-bilinear-antialias"),
    graph=sums_graph(),
    temperature=1.5,
    test={"accuracy": 0.9},
    provenance={"seed": 1},
    unknown=UnknownRule("distance", 1.5, 0.95),
    conformal=Conformal((0.0, 0.25, 1.0)),
    references=(Reference("00.png", b"picture", "แมว", (0.25, 0.75), 0.75),),
    card="# การ์ด",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.whatsit"
    write_bundle(BUNDLE, path)
    return path


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Take the members, let them be changed, and zip them again."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def change_manifest(members: dict[str, bytes], **values: object) -> None:
    members["bundle.json"] = json.dumps({**json.loads(members["bundle.json"]), **values}).encode()


def test_bundle_survives_its_file(path: Path) -> None:
    assert read_bundle(path) == BUNDLE
    assert read_bundle(path.parent) == BUNDLE


def test_same_contents_make_the_same_file(path: Path, tmp_path: Path) -> None:
    write_bundle(BUNDLE, tmp_path / "again.whatsit")
    assert (tmp_path / "again.whatsit").read_bytes() == path.read_bytes()


def test_missing_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"there is no such model; train one with"):
        read_bundle(tmp_path / "none.whatsit")


def test_folder_of_models_is_answered_with_their_names(path: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    places = [
        "old/model.whatsit",
        "study/best/model.whatsit",
        "run.unfinished/model.whatsit",
        "pets.whatsit",
        "notes/a.txt",
    ]
    for age, name in enumerate(places):
        (runs / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, runs / name)
        os.utime(runs / name, (1e9 + age, 1e9 + age))
    one = f"{runs} is no model, but holds 3 models; name one, such as {runs}/pets.whatsit, {runs}/study, {runs}/old"
    for asked in (runs, runs / "model.whatsit"):
        with pytest.raises(MissingBundleError, match=f"^{re.escape(one)}$"):
            read_bundle(asked)
    for more in range(9):
        shutil.copytree(runs / "old", runs / f"more{more}")
    with pytest.raises(MissingBundleError, match="holds 12 models; name one, such as") as found:
        read_bundle(runs)
    assert str(found.value).count(str(runs)) == 6
    shutil.copytree(runs / "old", tmp_path / "single" / "run")
    with pytest.raises(MissingBundleError, match=r"is no model, but holds only one: name \S+/single/run$"):
        read_bundle(tmp_path / "single")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_bundle_that_is_cut_short(path: Path, share: float) -> None:
    data = path.read_bytes()
    with pytest.raises(BundleError, match=r"model\.whatsit: "):
        parse_bundle(data[: int(len(data) * share)], "model.whatsit")


def test_every_flipped_bit_is_noticed_or_harmless(path: Path) -> None:
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        with contextlib.suppress(BundleError):
            assert parse_bundle(bytes(damaged), "x") == BUNDLE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update({"model.onnx": m["model.onnx"] + b" "}), "'model.onnx' is damaged or was changed"),
        (lambda m: m.pop("golden/00.png"), "its list of contents and its contents differ in 'golden/00.png'"),
        (lambda m: m.update({"evil.py": b"x"}), "'evil.py' does not belong in a bundle"),
        (lambda m: m.update({"../evil": b"x"}), "'../evil' does not belong in a bundle"),
        (lambda m: m.update({"golden/../../x.png": b"x"}), "does not belong in a bundle"),
        (lambda m: m.pop("bundle.json"), "not a whatsit model: bundle.json is missing"),
        (lambda m: m.pop("model.onnx"), "model.onnx is missing"),
        (lambda m: m.update({"card.md": bytes(300_000_000)}), "decompression bomb"),
        (lambda m: m.update({"bundle.json": b"[" * 100_000}), "bundle.json is damaged"),
        (lambda m: m.update({"bundle.json": b"[]"}), "bundle.json is damaged"),
        (
            lambda m: change_manifest(m, format=3),
            "format 3 is newer than this whatsit reads (2); run: pip install -U whatsit",
        ),
        (lambda m: change_manifest(m, format="x"), "unknown bundle format 'x'"),
        (lambda m: change_manifest(m, classes=["one"]), "its classes are damaged"),
        (lambda m: change_manifest(m, classes=[1, 2]), "its classes are damaged"),
        (lambda m: change_manifest(m, unknown={"method": "x", "threshold": "nan", "accepts": 0.9}), "out of range"),
        (lambda m: change_manifest(m, unknown={"method": "x"}), "bundle.json is damaged"),
        (lambda m: change_manifest(m, conformal={"scores": [0.5, 0.1]}), "the conformal scores are damaged"),
        (lambda m: change_manifest(m, conformal={"scores": [2.0]}), "the conformal scores are damaged"),
        (lambda m: change_manifest(m, conformal=[]), "bundle.json is damaged"),
        (lambda m: change_manifest(m, provenance=None), "the provenance or the test metrics are not tables"),
        (lambda m: change_manifest(m, calibration={"temperature": "nan"}), "the temperature is out of range"),
        (lambda m: change_manifest(m, classes=["a", "b", "c"]), "a reference prediction has the wrong number"),
        (lambda m: change_manifest(m, input={"height": 10**9, "width": 1, "resize": ""}), "input size 1000000000 x 1"),
        (
            lambda m: change_manifest(
                m, input={"height": 8, "width": 8, "resize": "crop", "channels": "RGB", "dtype": "uint8"}
            ),
            "by the rule 'crop'",
        ),
    ],
)
def test_tampering_is_refused(path: Path, change: Callable[[dict[str, bytes]], None], message: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_bundle(rewrite(path, change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_member_whose_packing_has_no_bounds_is_refused(path: Path, method: int) -> None:
    with zipfile.ZipFile(path, "a", method) as archive:
        archive.writestr("golden/01.png", bytes(1000))
    with pytest.raises(BundleError, match=r"refused, because 'golden/01\.png' is neither stored nor deflated"):
        read_bundle(path)


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _external_inside_a_node(model: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [0.0])
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def _external_inside_a_graph(model: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [0.0])
    tensor.external_data.add(key="location", value="/etc/passwd")
    body = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "body", [], [])
    model.graph.node.append(helper.make_node("If", ["image"], ["y"], then_branch=body, else_branch=body))


def _endless_loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}2"]) for name in ("again", "value")],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.UINT8, None),
        ],
        [
            helper.make_tensor_value_info("again2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value2", TensorProto.UINT8, None),
        ],
    )
    model.graph.node.append(helper.make_node("Loop", ["", "", "image"], ["y"], body=body))


def _graph_in_an_allowed_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("body", helper.make_graph([], "body", [], [])))


def _named_otherwise(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Range"


def _no_name(model: onnx.ModelProto) -> None:
    model.graph.node[0].ClearField("op_type")


def _own_function(model: onnx.ModelProto) -> None:
    """Functions that call each other twice: `n` of them are `2^n` operators once they are put in place."""
    inner = [helper.make_node("Identity", ["x"], ["y"])]
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], inner, [helper.make_opsetid("", 17)]))


def _instructions_for_training(model: onnx.ModelProto) -> None:
    model.training_info.add()


def _foreign_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.evil"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_external, "read data from other files"),
        (_external_inside_a_node, "read data from other files"),
        (_external_inside_a_graph, "uses the operator 'If'"),
        (_endless_loop, "uses the operator 'Loop'"),
        (_graph_in_an_allowed_operator, "holds a graph of its own"),
        (_named_otherwise, "uses the operator 'Range'"),
        (_own_function, "holds functions of its own"),
        (_no_name, "an operator has no name"),
        (_instructions_for_training, "instructions for training"),
        (_foreign_operator, "foreign domain 'com.evil'"),
    ],
)
def test_graph_that_reaches_outside_is_refused(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    model = onnx.load_from_string(sums_graph())
    change(model)
    write_bundle(replace(BUNDLE, graph=model.SerializeToString()), tmp_path / "x.whatsit")
    with pytest.raises(BundleError, match=message):
        read_bundle(tmp_path / "x.whatsit")


def test_full_disk_leaves_the_old_bundle(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DiskError, match="the disk is full; free some space"):
        write_bundle(replace(BUNDLE, card="other"), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(BundleError, match="MODEL is empty"):
        read_bundle("")


@pytest.mark.parametrize(
    ("member", "size", "message"),
    [
        ("card.md", 17 * 2**20, r"'card.md' has 17,825,792 bytes; at most 16,777,216 are read"),
        ("golden/answers.json", 17 * 2**20, "'golden/answers.json' has 17,825,792 bytes"),
        ("golden/00.png", 5 * 2**20, "'golden/00.png' has 5,242,880 bytes; at most 4,194,304"),
    ],
)
def test_every_member_has_a_bound_and_is_not_read_beyond_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, member: str, size: int, message: str
) -> None:
    noise = np.random.default_rng(0).bytes(size // 8) * 8  # packs to an eighth, which no bomb is
    rewrite(path, lambda members: members.update({member: noise[:size]}))
    read: list[int] = []
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda file, count=-1: read.append(count) or b"")
    with pytest.raises(BundleError, match=message):
        read_bundle(path)
    assert sum(read) < size


def test_bundle_of_very_many_members_is_refused(path: Path) -> None:
    many = {f"golden/{number:02d}.{ending}": b"x" for number in range(100) for ending in ("png", "jpg")}
    rewrite(path, lambda members: members.update(many))
    with pytest.raises(BundleError, match=r"members; at most 128"):
        read_bundle(path)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("cat\u202egod", r"name of class 2 has the character U\+202E, which is not seen \(right-to-left override\)"),
        (np.random.default_rng(0).bytes(2_500_000).hex(), r"name of class 2 has 5,000,000 characters; at most 200"),
        ("\x1b[31mred", r"U\+001B"),
        ("one\u2028two", r"U\+2028"),
        ("", "name of class 2 is empty"),
    ],
)
def test_harmful_names_of_classes_are_refused(path: Path, label: str, message: str) -> None:
    classes = [BUNDLE.classes[0], label, *BUNDLE.classes[2:]]
    rewrite(path, lambda members: change_manifest(members, classes=classes))
    with pytest.raises(BundleError, match=message):
        read_bundle(path)


def test_unseen_characters_of_the_card_and_the_provenance_are_shown(tmp_path: Path) -> None:
    written = replace(BUNDLE, card="# A\u202eB\n\tC", provenance={"data": {"source": ["x\x1b[2J"]}})
    write_bundle(written, tmp_path / "x.whatsit")
    bundle = read_bundle(tmp_path / "x.whatsit")
    assert bundle.card == "# A\ufffdB\n\tC"
    assert bundle.provenance == {"data": {"source": ["x\ufffd[2J"]}}


@pytest.mark.parametrize("name", ["golden/00.png\n", "a\x1b[2Jb", "c\u202ed"])
def test_name_of_a_member_that_does_not_belong_is_shown_without_harm(path: Path, name: str) -> None:
    rewrite(path, lambda members: members.update({name: b"x"}))
    with pytest.raises(BundleError, match="does not belong in a bundle") as caught:
        read_bundle(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", [".", "/"])
def test_folder_without_a_name_of_its_own_is_no_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingBundleError, match="no such model; train one with"):
        read_bundle(name)


@pytest.mark.parametrize(
    ("name", "such"), [(".", "model.whatsit"), ("/", "/model.whatsit"), ("pets.h5", "pets.whatsit")]
)
def test_new_model_needs_a_name_with_its_ending(name: str, such: str) -> None:
    with pytest.raises(UsageError, match=f"such as {re.escape(such)}$"):
        require_new(Path(name))
