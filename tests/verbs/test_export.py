from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from PIL import Image

import whatsit
from tests.conftest import encode, shapes
from tests.drawn import draw
from tests.verbs.test_train import Listener
from whatsit.bundle.read import read_bundle
from whatsit.engines import EngineError
from whatsit.engines.coreml import CoreMLProgram
from whatsit.engines.exported import open_exported
from whatsit.engines.litert import model_in_header
from whatsit.errors import DataError, MissingExtraError, ModelError, UsageError
from whatsit.evaluation.exported import why_rejected
from whatsit.evaluation.gate import Gate
from whatsit.evaluation.parity import reference_pixels
from whatsit.evaluation.variants import variants
from whatsit.files import DiskError
from whatsit.graph.formats import FORMATS as ALL
from whatsit.graph.formats import Converter
from whatsit.graph.tflite_file import Description
from whatsit.graph.to_c import to_header
from whatsit.images.decode import decode
from whatsit.models.backend import load_keras
from whatsit.run.record import Run
from whatsit.verbs.export import Exported

load_keras()
FORMATS = {name: target for name, target in ALL.items() if name != "web"}  # a page: tests/bundle/test_website.py
HERE = [name for name in FORMATS if name != "coreml" or find_spec("coremltools")]  # that is not built for every system
FLOAT = [name for name, target in FORMATS.items() if not target.int8]
INT8 = [name for name, target in FORMATS.items() if target.int8]


@pytest.fixture(scope="module")
def exported(baseline_run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    """The tiny model in every format, by the format's name."""
    out = tmp_path_factory.mktemp("export")
    found = whatsit.export(baseline_run.folder, ",".join(HERE), out=out, author="Somchai", license_="CC-BY-4.0")
    return {one.format: one for one in found}


@pytest.mark.isa
@pytest.mark.openvino  # which is among the formats
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("count", [1, 32])
def test_every_format_answers_like_the_model(
    name: str, count: int, exported: dict[str, Exported], baseline_run: Run
) -> None:
    if name not in exported:
        pytest.skip("coremltools is not installed")
    pixels, wanted = reference_pixels(read_bundle(baseline_run.model))
    places = np.resize(np.arange(len(pixels)), count)
    found = open_exported(exported[name].path)(pixels[places])
    assert found.dtype == np.float32
    assert np.abs(found - wanted[places]).max() <= (0.1 if FORMATS[name].int8 else 1e-4)
    assert not exported[name].rejected


EXAMPLES = sorted({target.example for target in FORMATS.values() if not target.stand_in})
WITH_TENSORFLOW = ["predict_keras.py", "predict_saved_model.py"]


@pytest.fixture(scope="module")
def reference(baseline_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference picture of the tiny model."""
    first = read_bundle(baseline_run.model).references[0]
    path = tmp_path_factory.mktemp("reference") / first.file
    path.write_bytes(first.data)
    return path


def command(script: str, exported: dict[str, Exported], picture: Path) -> list[str]:
    """The script of that name, a file of its format and a picture."""
    name = next(name for name, target in FORMATS.items() if target.example == script)
    return [str(exported["onnx"].path.parent / script), str(exported[name].path), str(picture)]


@pytest.fixture(scope="module")
def said_with_tensorflow(exported: dict[str, Exported], reference: Path) -> dict[str, str]:
    """What the scripts say that load TensorFlow: one process runs them all, as to load it takes seconds."""
    commands = [command(script, exported, reference) for script in WITH_TENSORFLOW]
    code = f"""import runpy, sys
sys.path[0] = {str(exported["onnx"].path.parent)!r}
for sys.argv in {commands!r}:
    runpy.run_path(sys.argv[0], run_name="__main__")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return dict(zip(WITH_TENSORFLOW, done.stdout.splitlines(), strict=True))


@pytest.mark.parametrize("script", EXAMPLES)
def test_the_example_gives_the_same_answer_without_whatsit(
    script: str, exported: dict[str, Exported], reference: Path, baseline_run: Run, request: pytest.FixtureRequest
) -> None:
    words = command(script, exported, reference)
    if script in WITH_TENSORFLOW:
        said = request.getfixturevalue("said_with_tensorflow")[script]
    else:
        said = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True).stdout
    label, probability = said.rsplit(maxsplit=1)
    [answer] = whatsit.load(baseline_run.model).predict([reference])
    assert label == answer.label
    assert float(probability) == pytest.approx(answer.probability, abs=1e-4)
    assert "import whatsit" not in Path(words[0]).read_text(encoding="utf-8")


def test_the_examples_read_every_kind_of_picture_by_the_rule(exported: dict[str, Exported], tmp_path: Path) -> None:
    """In a process that knows nothing of whatsit."""
    rule = json.loads((exported["onnx"].path.parent / "preprocess.json").read_text(encoding="utf-8"))
    width, height = rule["size"]
    files = dict(variants([np.asarray(draw("mango", 1, (320, 240))), np.asarray(draw("grapes", 2, (90, 160)))]))
    ramp = np.linspace(-50, 900, 90 * 160).reshape(90, 160)
    files |= {
        "float.tiff": encode(ramp.astype(np.float32), "TIFF"),
        "32-bit.tiff": encode(ramp.astype(np.int32), "TIFF"),
    }
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        files[f"orientation {orientation}.tiff"] = encode(np.asarray(draw("mango", 1, (320, 240))), "TIFF", exif=exif)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    script = "import sys, numpy as np; from read_picture import read; np.save(sys.argv[1], [read(f)[0] for f in sys.argv[2:]])"
    command = [sys.executable, "-c", script, tmp_path / "found.npy", *(tmp_path / name for name in files)]
    subprocess.run(command, cwd=exported["onnx"].path.parent, check=True)
    for name, found in zip(files, np.load(tmp_path / "found.npy"), strict=True):
        assert np.array_equal(found, decode(tmp_path / name, (height, width))), name


def test_the_phone_file_has_whole_numbers_throughout(exported: dict[str, Exported]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(str(exported["tflite-int8"].path))
    model.allocate_tensors()
    [source], [result] = model.get_input_details(), model.get_output_details()
    assert (source["dtype"], source["quantization"], source["name"].endswith("image:0")) == (np.uint8, (1.0, 0), True)
    floats = [tensor["index"] for tensor in model.get_tensor_details() if tensor["dtype"] == np.float32]
    assert floats == [result["index"]]


PHONE = ["tflite", "tflite-int8"]


@pytest.mark.parametrize("name", PHONE)
def test_the_phone_file_tells_what_it_is(name: str, exported: dict[str, Exported], baseline_run: Run) -> None:
    """By the numbers of the schema of TensorFlow Lite Metadata."""
    bundle = read_bundle(baseline_run.model)
    with zipfile.ZipFile(exported[name].path) as archive:
        assert archive.read("labels.txt").decode().split("\n") == list(bundle.classes)
        assert [member.compress_type for member in archive.infolist()] == [zipfile.ZIP_STORED]
    root = metadata_of(exported[name].path.read_bytes())
    assert (root.text(4), root.text(5)) == ("Somchai", "CC-BY-4.0")
    assert f"{len(bundle.classes)} classes apart: {', '.join(bundle.classes)}" in root.text(1)
    graph = root.tables(3)[0]
    image, probabilities = graph.tables(2)[0], graph.tables(3)[0]
    assert image.text(0) == "image"
    assert image.table(3).number(0, "Uint8") == 2  # an image
    assert image.table(3).table(1).number(0, "Uint8") == 1  # in RGB
    size = image.table(3).table(1).table(1)
    assert (size.number(0, "Uint32"), size.number(1, "Uint32")) == (bundle.input.width, bundle.input.height)
    [unit] = image.tables(4)
    assert unit.number(0, "Uint8") == 1  # normalization
    assert (unit.table(1).floats(0), unit.table(1).floats(1)) == ([0.0], [1.0])
    [labels] = probabilities.tables(6)
    assert (labels.text(0), labels.number(2, "Int8")) == ("labels.txt", 2)


@pytest.mark.parametrize("name", PHONE)
def test_mediapipe_takes_the_phone_file_as_it_is(name: str, exported: dict[str, Exported], baseline_run: Run) -> None:
    mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe (400 MB with OpenCV) is not installed")
    from mediapipe.tasks.python import BaseOptions, vision

    bundle = read_bundle(baseline_run.model)
    pixels, _ = reference_pixels(bundle)
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=str(exported[name].path)))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for image, known in zip(pixels, whatsit.load(baseline_run.model).predict([*pixels]), strict=True):
            found = classifier.classify(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image))
            [result] = found.classifications
            assert result.head_name == "probabilities"
            scores = {category.category_name: category.score for category in result.categories}
            assert scores == pytest.approx(dict(known.top), abs=0.1 if FORMATS[name].int8 else 1e-4)


def test_data_in_the_phone_file_lie_where_a_processor_can_read_them(exported: dict[str, Exported]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(exported["tflite"].path.read_bytes(), 0)
    whole = np.frombuffer(model._tab.Bytes, np.uint8)
    buffers = [model.Buffers(i).DataAsNumpy() for i in range(model.BuffersLength()) if model.Buffers(i).DataLength()]
    assert {(data.ctypes.data - whole.ctypes.data) % 16 for data in buffers} == {0}


class Table:
    """A table of a FlatBuffer, read by the numbers of its slots."""

    def __init__(self, content: bytes, place: int) -> None:
        self._table = flatbuffers.table.Table(content, place)

    def _field(self, slot: int) -> int:
        place = self._table.Offset(4 + 2 * slot)
        assert place, f"there is no slot {slot}"
        return place

    def number(self, slot: int, kind: str) -> int:
        flags = getattr(flatbuffers.number_types, f"{kind}Flags")
        return int(self._table.Get(flags, self._table.Pos + self._field(slot)))

    def text(self, slot: int) -> str:
        return self._table.String(self._table.Pos + self._field(slot)).decode()

    def table(self, slot: int) -> Table:
        return Table(self._table.Bytes, self._table.Indirect(self._table.Pos + self._field(slot)))

    def _vector(self, slot: int) -> list[int]:
        start = self._table.Vector(self._field(slot))
        return [start + 4 * number for number in range(self._table.VectorLen(self._field(slot)))]

    def tables(self, slot: int) -> list[Table]:
        return [Table(self._table.Bytes, self._table.Indirect(place)) for place in self._vector(slot)]

    def floats(self, slot: int) -> list[float]:
        return [self._table.Get(flatbuffers.number_types.Float32Flags, place) for place in self._vector(slot)]


def metadata_of(content: bytes) -> Table:
    """The table ModelMetadata of a TFLite file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    entries = [model.Metadata(number) for number in range(model.MetadataLength())]
    [number] = [entry.Buffer() for entry in entries if entry.Name() == b"TFLITE_METADATA"]
    data = model.Buffers(number).DataAsNumpy().tobytes()
    assert data[4:8] == b"M001"
    return Table(data, int.from_bytes(data[:4], "little"))


def test_the_core_ml_package_says_what_it_is(exported: dict[str, Exported], baseline_run: Run) -> None:
    coremltools = pytest.importorskip("coremltools", reason="coremltools is not installed")
    bundle = read_bundle(baseline_run.model)
    about = coremltools.utils.load_spec(str(exported["coreml"].path)).description
    [image] = about.input
    kind = image.type.imageType
    assert (image.name, kind.width, kind.height) == ("image", bundle.input.width, bundle.input.height)
    assert kind.colorSpace == kind.ColorSpace.Value("RGB")
    assert (about.predictedFeatureName, about.predictedProbabilitiesName) == ("classLabel", "classLabel_probs")
    assert (about.metadata.author, about.metadata.license) == ("Somchai", "CC-BY-4.0")
    assert CoreMLProgram(exported["coreml"].path).labels == bundle.classes


def test_what_does_not_run_here_is_said(baseline_run: Run, tmp_path: Path) -> None:
    pytest.importorskip("coremltools", reason="coremltools is not installed")
    listener = Listener()
    whatsit.export(baseline_run.folder, "coreml", out=tmp_path, reporter=listener)
    assert listener.said == ["coreml: compared by ONNX Runtime; its own runtime is for other machines"]


def test_the_microcontroller_answers_like_the_phone(exported: dict[str, Exported], baseline_run: Run) -> None:
    micro = pytest.importorskip("tflite_micro", reason="tflite-micro is not installed (there is none for this system)")
    pixels, wanted = reference_pixels(read_bundle(baseline_run.model))
    header = exported["c"].path.read_text()
    arena = int(re.findall(r"WHATSIT_ARENA_SIZE (\d+)", header)[0])
    model = micro.runtime.Interpreter.from_bytes(model_in_header(header), arena_size=arena)
    found = []
    for image in pixels:
        model.set_input((image[None] ^ np.uint8(128)).view(np.int8), 0)
        model.invoke()
        found.append((model.get_output(0)[0].astype(np.float32) + 128) / 256)
    by_litert = open_exported(exported["c"].path)(pixels)
    assert np.abs(np.array(found) - by_litert).max() <= 0.05  # as LiteRT's reference kernels round
    assert (np.argmax(found, axis=1) == by_litert.argmax(axis=1)).all()
    assert (np.argmax(found, axis=1) == wanted.argmax(axis=1)).all()


def test_the_arena_is_little_more_than_is_needed(exported: dict[str, Exported]) -> None:
    micro = pytest.importorskip("tflite_micro", reason="tflite-micro is not installed (there is none for this system)")
    header = exported["c"].path.read_text()
    arena = int(re.findall(r"WHATSIT_ARENA_SIZE (\d+)", header)[0])
    with pytest.raises(RuntimeError):
        micro.runtime.Interpreter.from_bytes(model_in_header(header), arena_size=int(0.8 * arena))


HOSTILE = ("ส้มตำ ไทย", '"); system("rm', "a\\", "/* ??/ */", "1")


@pytest.mark.parametrize(("compiler", "name"), [("gcc", "x.c"), ("g++", "x.cc")])
def test_the_header_is_c_and_cpp(compiler: str, name: str, exported: dict[str, Exported], tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"there is no {compiler} here")
    content = model_in_header(exported["c"].path.read_text())
    (tmp_path / "whatsit_model.h").write_text(to_header(content, Description("", HOSTILE, (64, 64))))
    (tmp_path / name).write_text("""#include <stdio.h>
#include "whatsit_model.h"
int main(void) {
  int place;
  for (place = 0; place < WHATSIT_CLASSES; ++place) puts(whatsit_labels[place]);
  fwrite(whatsit_model, 1, whatsit_model_size, stdout);
  return (int)((unsigned long)whatsit_model % 16);
}
""")
    command = [compiler, "-Wall", "-Wextra", "-Werror", str(tmp_path / name), "-o", str(tmp_path / "program")]
    subprocess.run(command, check=True)
    said = subprocess.run([str(tmp_path / "program")], capture_output=True, check=True).stdout
    assert said == "\n".join([*HOSTILE, ""]).encode() + content


def test_an_operator_that_microcontrollers_have_not_is_named() -> None:
    from ai_edge_litert import schema_py_generated as schema

    code, model, builder = schema.OperatorCodeT(), schema.ModelT(), flatbuffers.Builder()
    code.builtinCode = schema.BuiltinOperator.STABLEHLO_SORT
    model.operatorCodes = [code]
    builder.Finish(model.Pack(builder))
    with pytest.raises(ModelError, match="the operator STABLEHLO_SORT, which is not among those for microcontrollers"):
        to_header(bytes(builder.Output()), Description("", ("a", "b"), (96, 96)))


@pytest.mark.parametrize("text", ["", "whatsit_model[3] = {0x00,0x01};"])
def test_a_header_without_a_whole_model_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "whatsit_model.h"
    path.write_text(text)
    with pytest.raises(EngineError, match="no exported model of this kind"):
        open_exported(path)


def test_labels_and_the_rule_lie_beside_the_files(exported: dict[str, Exported], baseline_run: Run) -> None:
    folder, bundle = exported["onnx"].path.parent, read_bundle(baseline_run.model)
    assert (folder / "labels.txt").read_text(encoding="utf-8").splitlines() == list(bundle.classes)
    rule = json.loads((folder / "preprocess.json").read_text(encoding="utf-8"))
    assert rule["size"] == [bundle.input.width, bundle.input.height]
    assert rule["resize"] == bundle.input.resize
    assert rule["output"]["shape"] == [None, len(bundle.classes)]


def test_hostile_class_names_travel_unharmed(hostile_run: Run, tmp_path: Path) -> None:
    whatsit.export(hostile_run.folder, "onnx,openvino", out=tmp_path)
    classes = read_bundle(hostile_run.model).classes
    assert tuple((tmp_path / "labels.txt").read_text(encoding="utf-8").splitlines()) == classes


def test_exports_lie_in_the_run_folder_by_default(baseline_run: Run, tmp_path: Path) -> None:
    run = shutil.copytree(baseline_run.folder, tmp_path / "run")
    alone = shutil.copy(run / "model.whatsit", tmp_path / "mine.whatsit")
    assert whatsit.export(run, "onnx")[0].path == run / "export" / "model.onnx"
    assert whatsit.export(alone, "onnx")[0].path == tmp_path / "mine-export" / "model.onnx"


def test_int8_knows_the_pictures_of_the_run_wherever_they_are_now(
    baseline_run: Run, shapes_folder: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(baseline_run.folder, tmp_path / "run")
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | {"data": str(tmp_path / "gone")}))
    with pytest.raises(UsageError, match="no such folder"):
        whatsit.export(run, "tflite-int8")
    [one] = whatsit.export(run, "openvino-int8", data=shapes_folder)
    with (run / "split.csv").open(encoding="utf-8") as file:
        assert one.gate
        assert one.gate.n == sum(row["split"] == "test" for row in csv.DictReader(file))


def test_int8_of_a_model_alone_asks_for_pictures(baseline_run: Run, tmp_path: Path) -> None:
    alone = shutil.copy(baseline_run.model, tmp_path / "mine.whatsit")
    with pytest.raises(UsageError, match=r"needs the pictures that the model was trained on; give them with --data"):
        whatsit.export(alone, "openvino-int8")


def test_int8_refuses_pictures_of_another_run(baseline_run: Run, tmp_path: Path) -> None:
    for label in read_bundle(baseline_run.model).classes:
        (tmp_path / "others" / label).mkdir(parents=True)
        for i in range(6):
            pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            (tmp_path / "others" / label / f"{i}.png").write_bytes(encode(pixels))
    with pytest.raises(DataError, match="none of these are test pictures"):
        whatsit.export(baseline_run.folder, "openvino-int8", out=tmp_path, data=tmp_path / "others")


def test_an_int8_file_that_answers_otherwise_is_put_aside(
    baseline_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [good] = whatsit.export(baseline_run.folder, "openvino-int8", out=tmp_path)
    assert good.path == tmp_path / "openvino_int8" / "model.xml"
    monkeypatch.setattr("whatsit.evaluation.gate.LEAST_AGREEMENT", 1.1)
    [bad] = whatsit.export(baseline_run.folder, "openvino-int8", out=tmp_path)
    assert bad.rejected
    assert bad.path == tmp_path / "openvino_int8-REJECTED" / "model.xml"
    assert bad.path.exists()
    assert not good.path.exists()
    monkeypatch.undo()
    whatsit.export(baseline_run.folder, "openvino-int8", out=tmp_path)
    assert good.path.exists()
    assert not bad.path.exists()


def test_the_gate_says_what_was_lost_and_what_to_try() -> None:
    gate = Gate(accuracy=0.89, float_accuracy=0.91, agreement=0.975, max_difference=0.2, n=10_000)
    assert not gate.passed
    assert (
        "right for 89.00% of 10,000 test pictures (the float model: 91.00%; at most 1 point may be lost)"
        in why_rejected(gate, "tflite-int8")
    )
    assert "agrees on 97.50% (at least 98% wanted); try" in why_rejected(gate, "tflite-int8")
    assert "try --precision float32" in why_rejected(gate, "web")


def test_an_unknown_format_gets_a_suggestion(baseline_run: Run) -> None:
    with pytest.raises(UsageError, match="unknown format 'tflite-in8'; did you mean 'tflite-int8'"):
        whatsit.export(baseline_run.folder, "onnx,tflite-in8")


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("tflite", "ai_edge_litert", "export"), ("keras", "keras", "train")]
)
def test_a_missing_package_is_named_with_its_extra(
    name: str, package: str, extra: str, baseline_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None if module == package else find_spec(module))
    with pytest.raises(MissingExtraError, match=rf"{package.replace('_', '-')}.*pip install 'whatsit\[{extra}\]'"):
        whatsit.export(baseline_run.folder, name)


def test_a_file_that_answers_otherwise_is_thrown_away(
    baseline_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [good] = whatsit.export(baseline_run.folder, "onnx", out=tmp_path)
    before = good.path.read_bytes()
    monkeypatch.setattr(Converter, "onnx", b"no graph")
    with pytest.raises(EngineError):
        whatsit.export(baseline_run.folder, "onnx", out=tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr("whatsit.evaluation.exported.TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="away from the model, where -1 is allowed; it was thrown away"):
        whatsit.export(baseline_run.folder, "onnx,openvino", out=tmp_path)
    assert good.path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_what_a_converter_refuses_is_one_line(
    baseline_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Converter, "keras", None)
    with pytest.raises(ModelError, match="the model cannot be written as h5: AttributeError"):
        whatsit.export(baseline_run.folder, "h5", out=tmp_path)


def test_a_model_alone_with_other_pictures_warns(baseline_run: Run, tmp_path: Path) -> None:
    alone = shutil.copy(baseline_run.model, tmp_path / "mine.whatsit")
    listener = Listener()
    for label in read_bundle(alone).classes:
        (tmp_path / "mine" / label).mkdir(parents=True)
        for i in range(4):
            (tmp_path / "mine" / label / f"{i}.png").write_bytes(encode(shapes(label, 500 + i)))
    [one] = whatsit.export(alone, "openvino-int8", data=tmp_path / "mine", reporter=listener)
    assert one.gate
    assert one.gate.n == 12
    assert "which of these pictures the model was trained on is not known" in listener.warned[0]


def test_a_model_alone_finds_its_test_pictures_again(baseline_run: Run, shapes_folder: Path, tmp_path: Path) -> None:
    alone = shutil.copy(baseline_run.model, tmp_path / "mine.whatsit")
    listener = Listener()
    [one] = whatsit.export(alone, "openvino-int8", data=shapes_folder, reporter=listener)
    assert one.gate
    assert one.gate.n == baseline_run.test.n
    assert listener.warned == [
        f"the exported file was checked on only {one.gate.n} test pictures, too few to tell a loss of one point"
    ]


@pytest.mark.parametrize(
    ("name", "fmt"), [("saved_model", "saved-model"), ("labels.txt", "onnx"), ("model.onnx", "onnx")]
)
def test_what_whatsit_did_not_write_is_not_replaced(name: str, fmt: str, baseline_run: Run, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(
        UsageError, match=f"{name} is there already, and whatsit did not write it; choose another folder"
    ):
        whatsit.export(baseline_run.folder, fmt, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_model_of_the_run_itself_is_not_replaced(baseline_run: Run, tmp_path: Path) -> None:
    run = shutil.copytree(baseline_run.folder, tmp_path / "run")
    with pytest.raises(UsageError, match=r"best_model.keras is there already"):
        whatsit.export(run, "keras", out=run)


def test_two_models_do_not_share_a_folder(baseline_run: Run, hostile_run: Run, tmp_path: Path) -> None:
    whatsit.export(baseline_run.folder, "onnx", out=tmp_path)
    with pytest.raises(UsageError, match=r"preprocess.json is of another model; choose another folder with --out"):
        whatsit.export(hostile_run.folder, "openvino", out=tmp_path)


def test_a_file_in_place_of_the_folder_is_told(baseline_run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(UsageError, match="is not a folder; choose another place with --out"):
        whatsit.export(baseline_run.folder, "onnx", out=tmp_path / "out")


def test_a_damaged_split_is_told_instead_of_split_anew(baseline_run: Run, tmp_path: Path) -> None:
    run = shutil.copytree(baseline_run.folder, tmp_path / "run")
    text = (run / "split.csv").read_text(encoding="utf-8")
    (run / "split.csv").write_text(text.rstrip()[:-1], encoding="utf-8")
    with pytest.raises(DataError, match=r"split.csv: this file is damaged"):
        whatsit.export(run, "openvino-int8")


def test_test_pictures_that_are_gone_are_told(baseline_run: Run, shapes_folder: Path, tmp_path: Path) -> None:
    data = shutil.copytree(shapes_folder, tmp_path / "shapes")
    with (baseline_run.folder / "split.csv").open(encoding="utf-8") as file:
        gone = next(row["path"] for row in csv.DictReader(file) if row["split"] == "test")
    (data / gone).unlink()
    listener = Listener()
    whatsit.export(baseline_run.folder, "openvino-int8", data=data, out=tmp_path / "out", reporter=listener)
    assert (
        f"only {baseline_run.test.n - 1} of the run's {baseline_run.test.n} test pictures are there"
        in listener.warned[0]
    )


def test_a_model_beside_a_run_is_not_of_that_run(baseline_run: Run, tmp_path: Path) -> None:
    run = shutil.copytree(baseline_run.folder, tmp_path / "run")
    other = shutil.copy(run / "model.whatsit", run / "other.whatsit")
    with pytest.raises(UsageError, match="give them with --data"):
        whatsit.export(other, "openvino-int8")


def test_folder_with_brackets_in_its_name(baseline_run: Run, tmp_path: Path) -> None:
    """TensorFlow takes brackets in the name of a folder for a pattern."""
    [exported] = whatsit.export(baseline_run.model, "saved-model", out=tmp_path / "ex [1]")
    assert exported.path.is_dir()
    assert exported.max_difference < 1e-4


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no limit for files")
@pytest.mark.parametrize("name", ["onnx", "openvino", "keras"])
def test_full_disk_leaves_nothing_and_names_the_file(baseline_run: Run, tmp_path: Path, name: str) -> None:
    """A limit for files stands for the disk: libraries cannot tell one from the other."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, hard))
    try:
        with pytest.raises(DiskError, match=rf"out/{FORMATS[name].file}: "):
            whatsit.export(baseline_run.folder, name, out=tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
