from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import onnx_networks
from tests.command import whatsit, whatsit_alone
from tests.conftest import encode, shapes
from whatsit.apps.cli.exports import export, verify
from whatsit.apps.terminal import shell_word
from whatsit.evaluation.cost import Cost
from whatsit.evaluation.gate import Gate
from whatsit.evaluation.parity import Parity
from whatsit.run.record import Run
from whatsit.training.forecast import MoreTime
from whatsit.training.recipe import parse_settings
from whatsit.verbs.export import Exported
from whatsit.verbs.train import train

ROOT = Path(__file__).parents[2]
QUICK = ["--no-report", "--set", "epochs=2", "--set", "size=64", "--set", "features=last", "--set", "views=original"]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "ภาพ [1].png"
    path.write_bytes(encode(shapes("disc", 7)))
    return path


def test_help_names_every_verb() -> None:
    done = whatsit_alone("--help")
    assert done.returncode == 0
    for verb in (
        "demo",
        "train",
        "evaluate",
        "check",
        "predict",
        "explain",
        "export",
        "benchmark",
        "ensemble",
        "verify",
        "runs",
    ):
        assert f"  {verb} " in done.stdout


@pytest.mark.parametrize("more", [MoreTime(6, (2, 6), 0.14, unlike=False), None])
def test_training_ends_with_what_more_time_is_likely_to_give(
    baseline_run: Run, monkeypatch: pytest.MonkeyPatch, more: MoreTime | None
) -> None:
    monkeypatch.setattr("whatsit.verbs.train.train", lambda *_, **__: replace(baseline_run, more_time=more))
    last = whatsit("train", "my food").stdout.splitlines()[-1]
    assert last == (
        "Next: whatsit train 'my food' --time-limit 6m (fine-tuning; 2 to 6 points more are usual where 14% of the validation "
        "images are wrong)"
        if more
        else f"Next: whatsit app {baseline_run.folder}"
    )


def test_version() -> None:
    assert whatsit("--version").stdout.startswith("whatsit 0.")


def test_python_m_whatsit_is_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "whatsit", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, whatsit("--version").stdout)


@pytest.mark.usefixtures("instant")
def test_train_json_is_one_document(shapes_folder: Path, tmp_path: Path) -> None:
    done = whatsit("train", shapes_folder, "--out", tmp_path / "run", "--json", *QUICK)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document) == {"run", "model", "test", "seconds", "recipe", "more_time"}
    assert set(document["test"]) == {"accuracy", "accuracy_ci95", "loss", "n"}
    assert Path(document["model"]).is_file()
    assert "60 pictures in 3 classes: columns, disc, rows" in done.stderr


@pytest.mark.usefixtures("instant")
def test_train_for_people_says_the_figures_and_what_next(shapes_folder: Path, tmp_path: Path) -> None:
    done = whatsit("train", shapes_folder, *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Test accuracy:  " in done.stdout
    assert "Inference time: " in done.stdout
    assert "Model size:     " in done.stdout
    assert "95 % interval" in done.stdout
    assert f"Next: whatsit predict {Path('runs') / 'shapes-fast'} PICTURE..." in done.stdout


def test_predict_line_and_json(baseline_run: Run, picture: Path) -> None:
    done = whatsit("predict", baseline_run.model, picture)
    assert done.returncode == 0
    assert done.stdout.startswith(f"{picture}: ")
    document = json.loads(whatsit("predict", baseline_run.folder, picture, "--json", "--top", 2).stdout)
    assert set(document) == {"image", "label", "probability", "unknown", "top"}
    assert document["image"] == str(picture)
    assert [set(entry) for entry in document["top"]] == [{"label", "probability"}] * 2


def test_predict_goes_on_after_a_bad_picture_and_exits_1(baseline_run: Run, picture: Path) -> None:
    bad = picture.with_name("bad.jpg")
    bad.write_bytes(b"words")
    done = whatsit("predict", baseline_run.model, bad, picture.with_name("none.png"), picture, "--json")
    assert done.returncode == 1
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert first == {"image": str(bad), "error": "the file holds text, not a picture"}
    assert second["error"] == "there is no such file"
    assert third["label"]


def test_predict_takes_folders_and_globs(baseline_run: Run, shapes_folder: Path) -> None:
    assert len(whatsit("predict", baseline_run.model, shapes_folder / "disc").stdout.splitlines()) == 20
    assert len(whatsit("predict", baseline_run.model, shapes_folder / "*" / "0[0-4].png").stdout.splitlines()) == 15


def test_file_names_cannot_steer_the_terminal_or_break_the_output(baseline_run: Run, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\x1b[31m\xff.png"
    with open(name, "wb") as file:  # noqa: PTH123 - a name of bytes
        file.write(encode(shapes("disc", 7)))
    done = whatsit_alone("predict", baseline_run.model, os.fsdecode(name))
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert json.loads(whatsit("predict", baseline_run.model, os.fsdecode(name), "--json").stdout)["label"]


def test_evaluate_json(baseline_run: Run, shapes_folder: Path) -> None:
    document = json.loads(whatsit("evaluate", baseline_run.model, shapes_folder, "--json").stdout)
    assert set(document) >= {"accuracy", "accuracy_ci95", "loss", "ece", "per_class", "confusion", "n"}
    assert set(document) >= {"top5_accuracy", "macro", "weighted", "unknown"}
    assert set(document["per_class"]["disc"]) >= {"precision", "recall", "f1", "n", "recall_ci95", "auroc"}


def test_check_passes_and_fails_by_exit_code(baseline_run: Run, tmp_path: Path) -> None:
    (tmp_path / "strict.toml").write_text("accuracy = 1.0\nmodel_mb = 0.001\n")
    (tmp_path / "easy.toml").write_text("accuracy = 0.1\nseconds_per_picture = 60\n")
    strict = whatsit("check", baseline_run.folder, "--criteria", tmp_path / "strict.toml")
    assert strict.returncode == 1
    assert "FAIL" in strict.stdout
    easy = whatsit("check", baseline_run.model, "--criteria", tmp_path / "easy.toml", "--json")
    assert easy.returncode == 0
    document = json.loads(easy.stdout)
    assert document["passed"] is True
    assert [check["name"] for check in document["checks"]] == ["accuracy", "seconds_per_picture"]


def test_the_next_command_can_be_copied_whatever_a_picture_is_called(
    baseline_run: Run, picture: Path, tmp_path: Path
) -> None:
    shutil.copy(picture, tmp_path / "ใบบัว (1).png")
    done = whatsit("explain", baseline_run.model, "ใบบัว (1).png", "-o", "out.png", cwd=tmp_path)
    [following] = [line for line in done.stdout.splitlines() if line.startswith("Next: ")]
    assert shlex.split(following.split(",")[0])[4:] == ["ใบบัว (1).png", "FOLDER"]


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("runs/ใบไม้-fast", "runs/ใบไม้-fast"),
        ("my photos", "'my photos'"),
        ("$x", "'$x'"),
        ("", "''"),
        ("a'b", "'a'\"'\"'b'"),
    ],
)
def test_a_name_is_quoted_only_where_a_shell_needs_it(word: str, shown: str) -> None:
    assert shell_word(word) == shown


def test_explain_draws_and_says_the_answer(baseline_run: Run, picture: Path, tmp_path: Path) -> None:
    done = whatsit("explain", baseline_run.model, picture, "-o", "out.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{picture}: ")
    assert "Drawing: out.png" in done.stdout
    document = json.loads(
        whatsit("explain", baseline_run.model, picture, "--label", "rows", "--json", cwd=tmp_path).stdout
    )
    assert document["explained"] == "rows"
    assert (tmp_path / document["drawing"]).is_file()


def test_prediction_sets_on_request(baseline_run: Run, picture: Path) -> None:
    [line] = whatsit("predict", baseline_run.model, picture, "--coverage", 0.5, "--json").stdout.splitlines()
    document = json.loads(line)
    assert document["label"] in document["set"]


def test_export_prints_a_table_and_json(baseline_run: Run, tmp_path: Path) -> None:
    done = whatsit("export", baseline_run.folder, "--format", "onnx,tflite-int8", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split()[:2] == ["onnx", str(tmp_path / "model.onnx")]
    assert "pass" in done.stdout.splitlines()[2]
    # In a process of its own, for what converters in C++ write.
    options = ["--format", "tflite,h5,openvino-int8", "--out", tmp_path, "--json"]
    done = whatsit_alone("export", baseline_run.folder, *options)
    assert [one["format"] for one in json.loads(done.stdout)] == ["tflite", "h5", "openvino-int8"]
    few = f"the exported file was checked on only {baseline_run.test.n} test pictures, too few to tell a loss of one point"
    assert done.stderr == f"Note: {few}\n"  # and nothing of the libraries


@pytest.mark.isa
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "web",
            "Next: python -m http.server --directory export/web (then open http://localhost:8000; only a page made with ",
        ),
        ("web.html", "Next: open export/web.html in a browser\n"),
        ("web-REJECTED", ""),
    ],
)
def test_exported_page_comes_with_how_to_open_it(
    name: str, wanted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = Gate(0.5, 1.0, 0.5, 0.5, 200) if "REJECTED" in name else None
    exported = [Exported("web", Path("export") / name, 12.0, 0.0, gate)]
    monkeypatch.setattr("whatsit.verbs.export.export", lambda *_, **__: exported)
    with pytest.raises(SystemExit) if gate else nullcontext():
        export("runs/food", "web")
    _, following = capsys.readouterr().out.split("\n\n")
    assert following.startswith(wanted + "Next: whatsit verify" if name != "web" else wanted)


def test_verify_tells_json(baseline_run: Run) -> None:
    done = whatsit("verify", baseline_run.model, "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["passed"] is True
    assert {"onnxruntime, one by one", "service, one by one"} <= {way["way"] for way in document["ways"]}


def test_verify_prints_a_table(
    baseline_run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "whatsit.apps.entry_points.verify", lambda model, **_: [Parity("the abacus", 3, 0.5, 0.75, None, False)]
    )
    with pytest.raises(SystemExit, match="1"):
        verify(baseline_run.model)
    assert re.search(r"the abacus +3 +5\.0e-01 +75% +FAIL", capsys.readouterr().out)


def test_rejected_export_exits_1_and_says_what_to_try(baseline_run: Run, tmp_path: Path) -> None:
    """Pictures of noise under every class: the labels of int8 and float differ by chance."""
    data = tmp_path / "noise"
    for label in ("columns", "disc", "rows"):
        (data / "test" / label).mkdir(parents=True)
        for i in range(40):
            pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            (data / "test" / label / f"{i}{label}.png").write_bytes(encode(pixels ^ len(label)))
            (data / "train" / label).mkdir(parents=True, exist_ok=True)
            (data / "train" / label / f"{i}{label}.png").write_bytes(
                encode(np.full((32, 32, 3), i, np.uint8) ^ len(label))
            )
    model = shutil.copy(baseline_run.model, tmp_path / "mine.whatsit")
    done = whatsit_alone("export", model, "--format", "openvino-int8", "--data", data, "--json")
    [one] = json.loads(done.stdout)
    assert (done.returncode, one["rejected"]) == (1, True)
    assert one["file"].endswith("mine-export/openvino_int8-REJECTED/model.xml")
    assert done.stderr.splitlines()[-1].startswith("whatsit: openvino-int8 was rejected: it is right for ")


def test_benchmark_prints_a_table_and_json(baseline_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Really measured it is in `verbs/test_benchmark.py`; two seconds a way, twice, would be waited for here."""
    cost = Cost(load=0.1, p50=0.002, p99=0.003, rounds=100, pictures_per_second=500.0, peak_mb=90.0)
    monkeypatch.setattr(
        "whatsit.evaluation.benchmark.measure_apart",
        lambda job: (cost, np.full((len(np.load(job.pixels)), 3), 1 / 3, np.float32)),
    )
    options = ["--format", "onnx", "--pictures", "4", "--plot", tmp_path / "plot.png"]
    done = whatsit("benchmark", baseline_run.folder, *options, "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["pictures"]) == (0, 4)
    assert {"p50", "p99", "load", "megabytes", "accuracy", "agreement"} <= document["ways"][0].keys()
    assert [way["p99"] for way in document["ways"]] == [0.003] * len(document["ways"])
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_ensemble_is_told_and_refused_in_one_line(baseline_run: Run, tmp_path: Path) -> None:
    done = whatsit("ensemble", baseline_run.folder, baseline_run.folder, "-o", tmp_path / "both")
    assert (done.returncode, done.stderr) == (2, "whatsit: an ensemble takes two or more different models\n")
    twin = shutil.copytree(baseline_run.folder, tmp_path / "twin")
    done = whatsit("ensemble", baseline_run.folder, twin, "-o", tmp_path / "both")
    assert done.returncode == 0, done.stderr
    assert "points against the best member" in done.stdout
    assert f"Next: whatsit predict {tmp_path / 'both'} PICTURE..." in done.stdout


def test_runs_prints_a_table_and_json(baseline_run: Run) -> None:
    assert "baseline" in whatsit("runs", baseline_run.folder.parent).stdout
    found = json.loads(whatsit("runs", baseline_run.folder.parent, "--json").stdout)
    assert "baseline" in [run["recipe"] for run in found]  # other fixtures make runs there, too


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "none/here"], 2, "whatsit: none/here: there is no such folder, archive or CSV file"),
        (["train", "cifar"], 2, "did you mean 'cifar10'?"),
        (["train", "DATA", "--recipe", "fsat"], 2, "unknown recipe 'fsat'; did you mean 'fast'?"),
        (["train", "DATA", "--backbone", "resnet"], 2, "unknown backbone 'resnet'; did you mean 'resnet50'?"),
        (["train", "DATA", "--set", "epochs"], 2, "--set takes key=value, received 'epochs'"),
        (["train", "DATA", "--limit", "x"], 2, "Invalid value for '--limit'"),
        (["train", ""], 2, "whatsit: DATA is empty"),
        (
            ["train", "DATA", "--time-limit", "10"],
            2,
            "--time-limit takes a time such as 10m, 90s or 1h30m, received '10'",
        ),
        (["train", "DATA", "--resume"], 2, "no interrupted run of"),
        (["train", "DATA", "--resume", "--out", "one"], 2, "that run is finished; there is nothing to resume"),
        (
            ["train", "DATA", "--recipe", "finetune", "--set", "finetune_layers=99"],
            2,
            "'finetune_layers' must be from 0 to 49, the layers that",
        ),
        (["train"], 2, "DATA is missing; give a folder"),
        (["tarin", "DATA"], 2, "No such command 'tarin'"),
        (["train", "ONE"], 1, "only one class, 'disc'"),
        (["predict", "none.whatsit", "a.jpg"], 2, "whatsit: none.whatsit: there is no such model"),
        (["predict", "none.whatsit", ""], 2, "whatsit: IMAGE is empty"),
        (["check", "DATA", "--criteria", "none.toml"], 2, "none.toml: there is no such file of criteria"),
        (["benchmark", "none.whatsit", "--plot", "split.csv"], 2, "split.csv: the drawing can be written as .png only"),
        (["explain", "none.whatsit", "a.jpg", "-o", "a.gif"], 2, "the drawing can be written as .png"),
        (["runs", "none"], 2, "none: there is no such folder of runs"),
        (["train", "x" * 5000], 2, "there is no such folder, archive or CSV file"),
    ],
)
def test_mistakes_get_one_line_and_the_right_exit_code(
    shapes_folder: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "disc").symlink_to(shapes_folder / "disc")
    known = {"DATA": str(shapes_folder), "ONE": str(tmp_path / "one")}
    done = whatsit(*[known.get(argument, argument) for argument in arguments], cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def _waiting(folder: Path, data: Path, *before: str) -> subprocess.Popen[str]:
    """A training that has begun and waits, in a process of its own."""
    command = [*before, sys.executable, "-m", "tests.waiting", "train", str(data), "--out", str(folder / "run")]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, **pipes)
    assert process.stdout
    assert process.stdout.readline() == "training\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_from_outside_it_says_one_line_and_how_to_go_on(
    shapes_folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with _waiting(tmp_path, shapes_folder) as process:
        os.kill(process.pid, number)
        try:
            process.wait(timeout=60)  # its input stays open: only the signal ends it
            errors = process.stderr.read()
        finally:
            process.kill()
    assert process.returncode == 1
    assert "whatsit: stopped; what was done is in" in errors
    assert "resume with the same command and --resume" in errors
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["run.unfinished"]


def test_nohup_is_respected(shapes_folder: Path, tmp_path: Path) -> None:
    with _waiting(tmp_path, shapes_folder, "sh", "-c", 'trap "" HUP; exec "$@"', "sh") as process:
        os.kill(process.pid, signal.SIGHUP)
        process.stdin.write("still there?\n")
        process.stdin.flush()
        said = process.stdout.readline()
        process.kill()
    assert said == "training\n"


TRAINING = """
import json, sys
import whatsit
from whatsit.events import EpochDone, Reporter
class Said(Reporter):
    def emit(self, event):
        if isinstance(event, EpochDone): print(event.entry["stage"], event.entry["epoch"], flush=True)
whatsit.train(sys.argv[1], out=sys.argv[2], reporter=Said(), **json.loads(sys.argv[3]))
"""


@pytest.mark.parametrize(
    ("recipe", "stage", "settings"),
    [
        ("scratch", "scratch", ["epochs=6", "filters=8,16", "batch_size=16"]),
        (
            "finetune",
            "finetune",
            ["finetune_epochs=4", "size=32", "epochs=1", "finetune_batch_size=8", "finetune_layers=3"],
        ),
    ],
)
def test_killed_run_goes_on_and_ends_like_an_undisturbed_one(
    shapes_folder: Path, tmp_path: Path, recipe: str, stage: str, settings: list[str]
) -> None:
    """`kill -9` once an epoch of the last stage is saved; figures equal up to the order in which threads add."""
    wanted = {"recipe": recipe, "settings": parse_settings(settings), "report": False}
    undisturbed = train(shapes_folder, out=tmp_path / "whole", **wanted)
    command = [sys.executable, "-c", TRAINING, str(shapes_folder), "cut", json.dumps(wanted)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        while process.stdout.readline() != f"{stage} 2\n":
            assert process.poll() is None
        process.kill()
    assert process.returncode == -signal.SIGKILL
    resumed = train(shapes_folder, out=tmp_path / "cut", resume=True, **wanted)
    assert resumed.test.loss == pytest.approx(undisturbed.test.loss, abs=1e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "whole"]


def test_time_limit_shortens_the_plan_and_is_told(shapes_folder: Path, tmp_path: Path) -> None:
    options = ["--recipe", "baseline", "--set", "epochs=9999", "--no-report"]
    done = whatsit("train", str(shapes_folder), "--out", "run", "--time-limit", "8s", "--json", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "of the 9999 that the recipe wants" in done.stderr


def test_demo(tmp_path: Path) -> None:
    done = whatsit("demo", "--out", "run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["test"]["accuracy"] >= 0.95
    assert (tmp_path / document["picture"]).is_file()


def test_import_makes_a_model_and_says_what_it_is(tmp_path: Path, shapes_folder: Path) -> None:
    network = onnx_networks.classifier(tmp_path / "x.onnx")
    (tmp_path / "labels.txt").write_text("columns\ndisc\nrows\n")
    given = ("import", network, "--labels", tmp_path / "labels.txt", "--scaling", "0..1")
    done = whatsit(*given, "-o", tmp_path / "a.whatsit", "--calibrate", shapes_folder)
    assert done.returncode == 0, done.stderr
    assert "Temperature:" in done.stdout
    assert f"Next: whatsit app {tmp_path / 'a.whatsit'}" in done.stdout
    [line] = whatsit(*given, "-o", tmp_path / "b.whatsit", "--json").stdout.splitlines()
    assert json.loads(line)["test"] is None
    assert whatsit(*given, "-o", tmp_path / "b.whatsit").returncode == 2
    wrong = whatsit(*given[:4], "--mean", "half", "--std", "1", "-o", tmp_path / "c.whatsit")
    assert (wrong.returncode, "--mean takes a number or three" in wrong.stderr) == (2, True)
    assert (
        whatsit(*given[:4], "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "-o", tmp_path / "d.whatsit").returncode
        == 0
    )
