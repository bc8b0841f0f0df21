"""Work in shards by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import whatsit
from whatsit.run.record import Run


@pytest.fixture
def place(shapes_folder: Path, tmp_path: Path) -> Path:
    done = whatsit("shard", shapes_folder, "--out", tmp_path / "place", "--rows", "25")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"Pictures: 60   Shards: 3   Manifest: {tmp_path / 'place' / 'manifest.parquet'}",
        f"Next: whatsit predict MODEL {tmp_path / 'place'} --out ANSWERS",
    ]
    return tmp_path / "place"


def test_answers_are_made_and_summed_up(baseline_run: Run, place: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers"
    done = whatsit("predict", baseline_run.folder, place, "--out", out, "--shard", "0/2", "--workers", "1", "--json")
    assert (done.returncode, json.loads(done.stdout)["images"]) == (0, 35)
    part = whatsit("answers", out, "--json")
    assert (part.returncode, json.loads(part.stdout)["complete"]) == (1, False)
    done = whatsit("predict", baseline_run.folder, place, "--out", out, "--workers", "1")
    assert "2 of 3 shards are there already" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["Pictures:", "60"]
    assert lines[-1] == f"Next: whatsit answers {out} --csv answers.csv"
    whole = whatsit("answers", out, "--csv", tmp_path / "a.csv", "--json")
    found = json.loads(whole.stdout)
    assert (whole.returncode, found["complete"], found["labelled"], found["errors"]) == (0, True, 60, 0)
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 61


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "MODEL", "a.png", "--workers", "2"], "--workers needs --out"),
        (["predict", "MODEL", "a", "b", "--out", "c"], "--out takes one manifest or source"),
        (["predict", "http://127.0.0.1:9", "a", "--out", "c"], "--out needs the model's own file"),
        (["predict", "MODEL", "PLACE", "--out", "c", "--shard", "2/2"], "--shard must be i/n"),
        (["predict", "MODEL", "PLACE", "--out", "c", "--workers", "1", "--ray", "auto"], "does not go with --ray"),
        (["shard", "PLACE", "--out", "PLACE"], "there is a manifest.parquet already"),
    ],
)
def test_wrong_use_is_one_line_and_2(
    baseline_run: Run, place: Path, arguments: list[str], message: str, tmp_path: Path
) -> None:
    given = [{"MODEL": str(baseline_run.folder), "PLACE": str(place)}.get(one, one) for one in arguments]
    done = whatsit(*given, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert message in line
