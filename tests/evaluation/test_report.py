from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import whatsit
from tests.conftest import HOSTILE, data_of
from whatsit.apps.cli.models import criteria_words
from whatsit.bundle.read import read_bundle
from whatsit.evaluation import plots
from whatsit.evaluation.advice import learned, to_do
from whatsit.evaluation.card import model_card
from whatsit.evaluation.criteria import Check
from whatsit.evaluation.metrics import compute_metrics
from whatsit.evaluation.more_pictures import Needed, gains, needed_in_all
from whatsit.evaluation.report import draw_plots, render
from whatsit.images.decode import decode
from whatsit.run.record import Run
from whatsit.run.summary import RunRecord, read_run
from whatsit.training.learning_curve import LearningCurve


class Page(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_report_needs_nothing_from_outside(hostile_run: Run) -> None:
    page = Page((hostile_run.folder / "report.html").read_text(encoding="utf-8"))
    assert page.links
    assert all(link.startswith("data:image/") for link in page.links)


def test_names_that_look_like_html_are_only_shown(hostile_run: Run) -> None:
    text = (hostile_run.folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "onerror" not in re.sub(r"&lt;img src=x onerror=alert\(1\)&gt;", "", text)
    assert "<script>alert(1)</script>" in page.text
    assert "ส้มตำ ไทย" in page.text


def test_what_looks_wrong_stands_in_red_before_all_else(hostile_run: Run) -> None:
    exam = hostile_run.examination
    assert exam is not None
    curve = LearningCurve((1.0,), (9,), (1.01,), np.ones((1, len(exam.bundle.classes))))
    page = Page(render(replace(exam, warnings=("the training loss rose",), curve=curve), draw_plots(exam)))
    wrong = page.text.index("Something looks wrong")
    assert wrong < page.text.index("The training loss rose") < page.text.index("What to do next")
    assert wrong < page.text.index("A linear probe on the features of a pretrained network is right for 101.0%")


def test_model_that_was_fitted_in_one_step_has_no_curve(hostile_run: Run) -> None:
    exam = hostile_run.examination
    assert exam is not None
    best = {**exam.best, "stage": "probe", "epoch": 1}
    probed = replace(exam, best=best, history=[*exam.history, best])
    page = Page(render(probed, draw_plots(probed)))
    assert "fitted in one step, as a linear probe of the frozen features" in page.text


def test_linear_probe_that_ships_is_not_held_against_another(hostile_run: Run) -> None:
    """Two accuracies of 'a linear probe' on one page looked like a mistake."""
    exam = hostile_run.examination
    assert exam is not None
    assert "a very simple model (a linear probe), " in learned(exam)[0]
    best = {**exam.best, "stage": "stronger-probe", "epoch": 1}
    note = "The last layer was fitted in two ways"
    probed = replace(exam, best=best, history=[*exam.history, best], training_notes=(note,))
    assert not any("very simple model" in sentence for sentence in learned(probed))
    text = Page(render(probed, draw_plots(probed))).text
    assert "a very simple model: a linear probe on a pretrained" not in text
    assert "This model is a linear probe too, but not the same one" in " ".join(text.split())
    assert text.index("There is no curve to draw") < text.index(note) < text.index("Each class")


def test_sound_model_has_no_alarm(hostile_run: Run) -> None:
    exam = hostile_run.examination
    assert exam is not None
    curve = LearningCurve((1.0,), (9,), (0.0,), np.ones((1, len(exam.bundle.classes))))
    sound = replace(exam, warnings=(), curve=curve, shortcuts=replace(exam.shortcuts, alarms=()))
    assert "Something looks wrong" not in render(sound, draw_plots(exam))


def test_run_folder_keeps_the_pictures_of_the_worst_mistakes(hostile_run: Run) -> None:
    assert hostile_run.examination is not None
    record = read_run(hostile_run.model)
    wanted = hostile_run.examination.mistakes
    assert wanted
    assert [(m.label, m.answer, m.probability) for m in record.mistakes] == [
        (m.label, m.answer, m.probability) for m in wanted
    ]
    assert all(decode(m.picture).shape == decode(m.evidence).shape for m in record.mistakes)


def test_run_folder_keeps_the_criteria_that_it_was_held_against(hostile_run: Run) -> None:
    assert hostile_run.examination is not None
    assert list(read_run(hostile_run.folder).checks) == list(hostile_run.examination.checks)


@pytest.mark.parametrize("probability", [7.5, float("nan"), -1])
def test_mistake_with_a_probability_that_is_none_is_left_out(
    hostile_run: Run, tmp_path: Path, probability: float
) -> None:
    shutil.copytree(hostile_run.folder, tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    metrics["examination"]["mistakes"][0]["probability"] = probability
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    assert len(read_run(tmp_path / "run").mistakes) == len(read_run(hostile_run.folder).mistakes) - 1


def test_run_folder_tells_the_kept_epoch_of_its_curve(hostile_run: Run) -> None:
    record = read_run(hostile_run.folder)
    assert [row["epoch"] for row in record.history] == [1.0, 2.0, 3.0]
    assert record.best_epoch in (1, 2, 3)
    assert record.report == hostile_run.folder / "report.html"


UNTOLD = Check(
    "class_recall", "recall in every class", "> 70 %", "cannot be told: no test pictures of 'x'", False, "", ("x",)
)


def test_what_cannot_be_told_is_not_counted_as_met(hostile_run: Run) -> None:
    assert hostile_run.examination is not None
    met = Check("accuracy", "test accuracy", "> 85 %", "99.0 %", True)
    exam = replace(hostile_run.examination, checks=[met, UNTOLD])
    page = render(exam, draw_plots(exam))
    assert "1 of 2 criteria cannot be told: some classes have no test pictures" in page
    assert "บอกไม่ได้ 1 จาก 2 ข้อ" in page
    assert "CANNOT BE TOLD" in page
    assert "criteria met" not in page
    card = model_card(exam.bundle, exam)
    assert "Criteria met when it was made: 1 of 2" in card
    assert "- Recall in every class cannot be told: no test pictures of 'x'" in card
    assert criteria_words(exam.checks) == "1 of 2 criteria cannot be told for want of test pictures"
    missed = replace(UNTOLD, untested=())
    assert (
        criteria_words([met, missed, UNTOLD]) == "1 of 3 criteria not met; 1 cannot be told for want of test pictures"
    )


def test_class_without_test_pictures_has_no_figures_on_the_card(hostile_run: Run) -> None:
    bundle = read_bundle(hostile_run.folder)
    label = bundle.classes[0]
    rows = {**bundle.test["per_class"], label: {**bundle.test["per_class"][label], "n": 0}}
    card = model_card(replace(bundle, test={**bundle.test, "per_class": rows}))
    assert "| not tested | not tested | not tested | 0 |" in card


def test_criteria_of_a_run_that_did_not_look_for_untested_classes_are_not_taken_over(
    hostile_run: Run, tmp_path: Path
) -> None:
    folder = shutil.copytree(hostile_run.folder, tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    for row in metrics["examination"]["criteria"]:
        del row["untested"]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    record = read_run(folder)
    assert record.checks == ()
    assert record.best_epoch is not None


@pytest.mark.parametrize(
    "metrics", ["", "[]", "{}", '{"best_epoch": 3, "examination": {"mistakes": [5]}}', '{"best_epoch": {}}']
)
def test_record_of_a_damaged_run_is_empty(hostile_run: Run, tmp_path: Path, metrics: str) -> None:
    for name in ("model.whatsit", "history.csv"):
        (tmp_path / name).write_bytes((hostile_run.folder / name).read_bytes())
    (tmp_path / "metrics.json").write_text(metrics)
    assert read_run(tmp_path) == RunRecord()
    assert read_run(tmp_path / "other.whatsit") == RunRecord()


@pytest.mark.parametrize("cell", ["nan", "inf", "1" * 200_000, "high"])
def test_damaged_curve_counts_as_missing(hostile_run: Run, tmp_path: Path, cell: str) -> None:
    (tmp_path / "metrics.json").write_bytes((hostile_run.folder / "metrics.json").read_bytes())
    header, first, *_ = (hostile_run.folder / "history.csv").read_text().splitlines()
    (tmp_path / "history.csv").write_text(
        "\n".join((header, ",".join([*first.split(",")[:2], cell, *first.split(",")[3:]])))
    )
    assert read_run(tmp_path).history == ()


def test_names_that_look_like_formulas_cannot_run_in_a_spreadsheet(hostile_run: Run) -> None:
    import csv

    with (hostile_run.folder / "split.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell[:1] in "=+-@\t\r" and cell]


def test_split_csv_can_be_trained_from_again(hostile_run: Run, tmp_path: Path) -> None:
    from whatsit.images.scan import scan

    copy = data_of(hostile_run).with_name(f"{tmp_path.name}.csv")  # beside the pictures
    copy.write_bytes((hostile_run.folder / "split.csv").read_bytes())
    assert set(scan(copy).classes) == set(HOSTILE.values())
    assert len(scan(copy).pictures) == 60


def test_names_cannot_turn_the_text_around_them(hostile_run: Run) -> None:
    from whatsit.images.names import plain

    assert plain("\u202eevil\x1b[31m ไทย") == "\ufffdevil\ufffd[31m ไทย"
    assert not {"\u202e", "\x1b"} & set((hostile_run.folder / "report.html").read_text(encoding="utf-8"))


def test_report_has_every_part(hostile_run: Run) -> None:
    page = Page((hostile_run.folder / "report.html").read_text(encoding="utf-8"))
    for part in (
        "At a glance", "What was learned", "What to do next", "Criteria", "Training", "Each class",
        "What is taken for what", "The worst mistakes", "Finding one class among the others",
        "Can its probabilities be believed?", "Does it know what it does not know?", "Where it looks",
        "Would more pictures help?", "What it was made of",
    ):  # fmt: skip
        assert part in page.text
    assert f"{hostile_run.test.accuracy:.1%}".replace("%", "\u00a0%") in page.text


def test_plots_are_files_too(hostile_run: Run) -> None:
    names = {path.name for path in (hostile_run.folder / "plots").iterdir()}
    assert names == {
        f"{name}.png"
        for name in (
            "calibration", "confusion", "history", "learning", "per_class", "precision_recall", "roc", "unknown",
        )
    }  # fmt: skip


def test_metrics_json_has_what_was_found_out(hostile_run: Run) -> None:
    metrics = json.loads((hostile_run.folder / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics["examination"]) >= {"majority_accuracy", "linear_probe_accuracy", "learning_curve", "coverage"}
    assert metrics["speed"]["median"] > 0
    assert [row["promised"] for row in metrics["examination"]["coverage"]] == [0.8, 0.9, 0.95, 0.99]


@pytest.mark.parametrize(("gap", "word"), [(0.02, "no sign of overfitting"), (0.09, "by heart (overfitting)")])
def test_over_fitting_is_called_so(baseline_run: Run, gap: float, word: str) -> None:
    exam = baseline_run.examination
    assert exam is not None
    labels = np.arange(3000) % 3
    wrong = np.arange(3000) < 300  # nine tenths are right
    answers = np.eye(3, dtype=np.float32)[(labels + wrong) % 3] * 0.8 + np.float32(0.2 / 3)
    nothing = np.zeros(3000)
    test = replace(
        exam.test, pictures=exam.test.pictures.take(np.zeros(3000, int)), labels=labels, probabilities=answers,
        ood_scores=nothing, unknown=nothing.astype(bool),
    )  # fmt: skip
    told = learned(replace(exam, best={**exam.best, "accuracy": 0.9 + gap}, test=test))
    assert word in " ".join(told)


def test_advice_follows_from_the_figures(hostile_run: Run) -> None:
    exam = hostile_run.examination
    assert exam is not None
    assert f"Of {exam.test.metrics.n} test pictures, which it never saw" in learned(exam)[0]
    advice = " ".join(to_do(exam))
    failed = [check.what for check in exam.checks if not check.passed]
    assert all(what in advice for what in failed)
    assert "Bring more test pictures" in advice


@pytest.mark.usefixtures("instant")
def test_run_without_a_report(shapes_folder: Path, tmp_path: Path) -> None:
    run = whatsit.train(shapes_folder, recipe="baseline", out=tmp_path / "run", settings={"epochs": 1}, report=False)
    assert not (run.folder / "report.html").exists()
    assert run.examination is None
    assert run.speed.median > 0


def curve(*recalls: float) -> LearningCurve:
    shares = tuple(2.0 ** -np.arange(len(recalls))[::-1])
    return LearningCurve(shares, (0,) * len(recalls), recalls, np.array(recalls)[:, None])


def test_class_that_still_climbs_gains_from_more_pictures() -> None:
    [gain] = gains(curve(0.2, 0.6, 0.8, 0.9), ("a",), {"a": 1000})
    assert gain.points == pytest.approx(0.05, abs=0.01)
    assert gain.verdict == "worth it"


def test_class_that_stands_still_does_not() -> None:
    [gain] = gains(curve(0.9, 0.9, 0.9, 0.9), ("a",), {"a": 1000})
    assert gain.points == pytest.approx(0.0, abs=1e-6)
    assert gain.verdict == "hardly"
    [perfect] = gains(curve(0.9, 1.0, 1.0), ("a",), {"a": 100})
    assert perfect.verdict == "hardly"


def test_gain_within_noise_is_not_promised() -> None:
    [gain] = gains(curve(0.7, 0.75, 0.8), ("a",), {"a": 5})
    assert gain.verdict == "cannot tell"


def drawn_curve(power: float, test: int, seed: int = 0) -> LearningCurve:
    """The curve of 400 training pictures of a class whose error is `0.2 share ** -power`, on so many test pictures."""
    rng = np.random.default_rng(seed)
    shares = 2.0 ** -np.arange(5)[::-1]
    error = 0.2 * shares**-power
    wrong = rng.random(test)[None] < error[:, None]  # the same pictures are hard at each share
    weights = rng.multinomial(test, np.full(test, 1 / test), 200)
    resampled = 1 - weights @ wrong.T / test
    recall = 1 - wrong.mean(axis=1)
    return LearningCurve(tuple(shares), (0,) * 5, tuple(recall), recall[:, None], (400,), resampled[:, :, None])


def test_pictures_for_a_point_hold_the_true_number_in_their_range() -> None:
    true = 400 * ((1 - 0.01 / 0.2) ** (-1 / 0.5) - 1)  # 43
    held = 0
    for seed in range(20):
        [gain] = gains(drawn_curve(0.5, 400, seed), ("bird",), {"bird": 400})
        assert gain.needed is not None
        assert gain.needed.low <= gain.needed.about <= gain.needed.high
        held += gain.needed.low <= true <= gain.needed.high
    assert held >= 11  # of 20; 8 in 10 are expected, 16


def test_pictures_for_a_point_are_told_in_two_digits() -> None:
    assert Needed(1234, 88, 2051).of("of 'bird'") == "about 1,200 more of 'bird' (88 to 2,100)"


def test_no_number_of_pictures_without_a_curve_that_falls() -> None:
    flat, few = drawn_curve(0.0, 400), drawn_curve(0.5, 40)
    for one, tests in ((flat, 400), (few, 40), (curve(0.2, 0.6, 0.8, 0.9), 400)):
        [gain] = gains(one, ("a",), {"a": tests})
        assert gain.needed is None
        assert needed_in_all(one, np.array([tests])) is None


def test_pictures_for_a_point_of_accuracy() -> None:
    needed = needed_in_all(drawn_curve(0.5, 2000), np.array([2000]))
    assert needed is not None
    assert 30 <= needed.about <= 60  # 43


@pytest.mark.parametrize("classes", [2, 12, 30, 110])
def test_confusion_matrix_of_any_size_is_drawn(classes: int) -> None:
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, classes, 500), rng.dirichlet(np.ones(classes), 500)
    names = tuple(f"class {k}" for k in range(classes))
    found = compute_metrics(labels, probabilities, names)
    for png in (plots.confusion(found), plots.per_class(found), plots.roc(labels, probabilities, names)):
        width, height = Image.open(io.BytesIO(png)).size
        assert 300 <= width <= 2000
        assert 200 <= height <= 2000


@pytest.mark.parametrize("name", ["$x^2$", "$unclosed", "ภาษาไทย", "日本", "", "\x00\x1b[31m", "a" * 500])
def test_any_class_name_can_be_drawn_without_a_warning(name: str) -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    plots.roc(np.array([0, 1, 1]), probabilities, (name, "other"))
