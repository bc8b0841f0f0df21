from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import whatsit.bundle

EXAMPLES = Path(whatsit.bundle.__file__).parent / "examples"


def test_label_that_the_output_cannot_show_is_escaped(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "read_picture.py", tmp_path)
    (tmp_path / "labels.txt").write_text("แมว\nหมา\n", encoding="utf-8")
    (tmp_path / "preprocess.json").write_text(
        '{"size": [8, 8], "resize": "stretch-bilinear-antialias-srgb"}', encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import read_picture; read_picture.say([0.9, 0.1])"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, r"\u0e41\u0e21\u0e27 0.9000"), done.stderr


def test_where_mistakes_have_prices_the_answer_costs_least(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "read_picture.py", tmp_path)
    (tmp_path / "labels.txt").write_text("edible\npoisonous\n", encoding="utf-8")
    rule = '{"size": [8, 8], "resize": "stretch-bilinear-antialias-srgb", "costs": [[0, 1], [100, 0]]}'
    (tmp_path / "preprocess.json").write_text(rule, encoding="utf-8")
    code = "import read_picture; read_picture.say([0.93, 0.07]); read_picture.say([0.995, 0.005])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["poisonous 0.0700", "edible 0.9950"], done.stderr


def test_examples_open_in_any_encoding_of_a_system() -> None:
    assert all(path.read_bytes().isascii() for path in EXAMPLES.glob("*.py"))
