from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import CLASSES, Listener, encode, shapes, write_files
from whatsit.errors import DataError, ImageError, UsageError
from whatsit.images.image_paths import find_pictures
from whatsit.images.walk import LeftOut
from whatsit.run.record import Run
from whatsit.verbs.evaluate import evaluate
from whatsit.verbs.explore import explore
from whatsit.verbs.predict import predict
from whatsit.verbs.train import train

A = encode(shapes("disc", 7))


def found(*arguments: object) -> list[str]:
    return list(find_pictures([str(argument) for argument in arguments], LeftOut()))


def test_folder_tells_what_was_passed_over(baseline_run: Run, tmp_path: Path) -> None:
    root = write_files(
        tmp_path / "mixed", {"1.png": A, "2.psd": b"8BPS", "3.psd": b"8BPS", "download": A, "@eaDir/1.png": A}
    )
    listener = Listener()
    assert len(list(predict(baseline_run.model, [str(root)], reporter=listener))) == 1
    assert listener.said == [
        "Skipped: 2 .psd files (save as JPEG or PNG with the painting program), 1 @eaDir folder, 1 file without an ending"
    ]


def test_folder_without_a_readable_picture_is_wrong_use(baseline_run: Run, tmp_path: Path) -> None:
    root = write_files(tmp_path / "raw", {"1.nef": b"x"})
    with pytest.raises(
        UsageError, match=r"no pictures that can be read in .*raw; skipped: 1 \.nef file \(develop, or save as"
    ):
        list(predict(baseline_run.model, [str(root)]))


def test_linked_folders_are_walked_and_loops_are_not(tmp_path: Path) -> None:
    root = write_files(tmp_path / "photos", {"1.png": A})
    write_files(tmp_path / "pool", {"2.png": A})
    (root / "album").symlink_to(tmp_path / "pool")
    (root / "again").symlink_to(root)
    assert found(root) == [str(root / "1.png"), str(root / "album" / "2.png")]
    assert found(root / "**") == found(root)
    assert found(root / "**" / "2*") == [str(root / "album" / "2.png")]


def test_folder_with_brackets_in_its_name_is_no_pattern(tmp_path: Path) -> None:
    root = write_files(tmp_path / "trip [1]", {"1.png": A, "sub/2.png": A})
    assert found(root) == [str(root / "1.png"), str(root / "sub" / "2.png")]
    assert found(root / "*.png") == [str(root / "1.png")]
    assert found(root / "*") == found(root / "**") == found(root)


def test_link_to_a_missing_file_gets_its_own_error(baseline_run: Run, tmp_path: Path) -> None:
    root = write_files(tmp_path / "photos", {"1.png": A})
    (root / "0.png").symlink_to(tmp_path / "gone.png")
    [(_, first), (_, second)] = predict(baseline_run.model, [str(root)])
    assert isinstance(first, ImageError)
    assert "the file that it leads to is missing" in str(first)
    assert not isinstance(second, ImageError)


def test_folder_that_cannot_be_read_is_told_and_the_rest_is_answered(
    baseline_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_files(tmp_path / "photos", {"1.png": A, "private/2.png": A})
    real = os.scandir

    def scandir(path: str) -> object:
        if os.fspath(path).endswith("private"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    listener = Listener()
    assert len(list(predict(baseline_run.model, [str(root)], reporter=listener))) == 1
    assert [text.endswith("the folder cannot be read: Permission denied") for text in listener.warned] == [True]
    [(_, alone)] = predict(baseline_run.model, [str(root / "private")])
    assert "the folder cannot be read: Permission denied" in str(alone)


def test_one_class_is_enough_to_evaluate_and_explore_and_not_to_train(baseline_run: Run, tmp_path: Path) -> None:
    root = write_files(tmp_path / "mine", {f"disc/{i}.png": encode(shapes("disc", 300 + i)) for i in range(8)})
    assert evaluate(baseline_run.model, root).metrics.per_class["disc"].n == 8
    assert explore(root, out=tmp_path / "x")[0].by_label() == {"disc": 8}
    with pytest.raises(DataError, match="only one class, 'disc', was found"):
        train(root, out=tmp_path / "run")


def test_evaluate_tells_what_data_left_out(baseline_run: Run, tmp_path: Path) -> None:
    files = {f"{label}/{i}.png": encode(shapes(label, 300 + i)) for label in CLASSES for i in range(2)}
    root = write_files(tmp_path / "mine", {**files, "disc/@eaDir/1.png": A})
    listener = Listener()
    evaluate(baseline_run.model, root, reporter=listener)
    assert "Skipped: 1 @eaDir folder" in listener.said
