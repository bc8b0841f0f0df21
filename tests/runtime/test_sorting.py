"""Files sorted into folders, and put back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from whatsit.errors import DataError, ImageError, UsageError
from whatsit.runtime import sorting
from whatsit.runtime.predictor import Prediction
from whatsit.runtime.sorted_log import LOG
from whatsit.runtime.sorting import Rules, Sorter, folder_names
from whatsit.runtime.unsorting import undo

CLASSES = ("cat", "dog")


def prediction(label: str = "cat", probability: float = 0.99, *, unknown: bool = False) -> Prediction:
    return Prediction(label, probability, unknown, ((label, probability),))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("one/a.jpg", "two/a.jpg", "two/A.JPG", "two/b.jpg", "two/c.jpg", "two/d.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_text(name)
        os.utime(tmp_path / "photos" / name, (1_000_000, 1_000_000))
    return tmp_path / "photos"


def found(photos: Path) -> list[tuple[str, Prediction | ImageError]]:
    answers = {
        "one/a.jpg": prediction(),
        "two/a.jpg": prediction(),
        "two/A.JPG": prediction(),
        "two/b.jpg": prediction("dog", 0.6),
        "two/c.jpg": prediction(unknown=True),
        "two/d.jpg": ImageError("damaged"),
    }
    return [(str(photos / name), answer) for name, answer in answers.items()]


def sort(photos: Path, way: str = "copy", *, only: slice = slice(None), model: str = "m") -> sorting.Sorted:
    with Sorter(photos.parent / "out", Rules(model, way, 0.9), CLASSES) as sorter:
        sorter.sort([one for one in found(photos)[only] if sorter.wants(one[0])])
        return sorter.done


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (LOG, ".sorting.lock")
    }


SORTED = {
    "cat/a.jpg": "one/a.jpg",
    "cat/a-2.jpg": "two/a.jpg",
    "cat/A-3.JPG": "two/A.JPG",
    "unsure/b.jpg": "two/b.jpg",
    "unknown/c.jpg": "two/c.jpg",
    "unreadable/d.jpg": "two/d.jpg",
}


@pytest.mark.parametrize("way", sorting.WAYS)
def test_files_go_to_the_folder_of_their_answer_and_clashes_are_kept_apart(photos: Path, way: str) -> None:
    before = tree(photos)
    sort(photos, way)
    out = photos.parent / "out"
    assert tree(out) == SORTED
    assert tree(photos) == ({} if way == "move" else before)
    assert (out / "cat" / "a.jpg").is_symlink() == (way == "link")
    assert (out / "cat" / "a.jpg").stat().st_mtime == 1_000_000


@pytest.mark.parametrize("way", sorting.WAYS)
def test_undoing_leaves_everything_as_it_was(photos: Path, way: str) -> None:
    before = tree(photos)
    sort(photos, way)
    assert (undo(photos.parent / "out").files, tree(photos)) == (6, before)
    assert not (photos.parent / "out").exists()


@pytest.mark.parametrize("way", sorting.WAYS)
def test_interrupted_sorting_continues(photos: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plan is in the log, and half of it was done."""
    before, put, count = tree(photos), sorting._put, iter(range(6))

    def failing(source: Path, target: Path, how: str) -> bool:
        if next(count) == 3:
            raise KeyboardInterrupt
        return put(source, target, how)

    with monkeypatch.context() as patch:
        patch.setattr(sorting, "_put", failing)
        with pytest.raises(KeyboardInterrupt):
            sort(photos, way)
    done = sort(photos, way)
    assert done.files == 3
    assert tree(photos.parent / "out") == SORTED
    undo(photos.parent / "out")
    assert tree(photos) == before


def test_name_that_was_planned_and_then_given_away_hides_no_file(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sorting, "_put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sort(photos, only=slice(1))  # one/a.jpg is planned as cat/a.jpg
    sort(photos, only=slice(1, 2))  # two/a.jpg gets that name
    assert sort(photos).files == 5
    assert set(tree(photos.parent / "out").values()) == set(tree(photos).values())


def test_long_names_of_classes_fit_into_a_folder_name() -> None:
    names = folder_names(("ก" * 200, "ก" * 199 + "ข", "a" * 199 + ". x"))
    assert all(len(name.encode()) <= 210 for name in names.values())
    assert len({*names.values()}) == len(names)
    assert not any(name.endswith(".") for name in names.values())


def test_what_was_sorted_is_not_sorted_again(photos: Path) -> None:
    sort(photos, only=slice(4))
    done = sort(photos)
    assert (done.files, done.earlier) == (2, 4)


def test_files_in_the_folder_itself_are_left_alone(photos: Path) -> None:
    sort(photos)
    with Sorter(photos.parent / "out", Rules("m", "copy", 0.9), CLASSES) as sorter:
        assert not sorter.wants(str(photos.parent / "out" / "cat" / "a.jpg"))


def test_file_that_is_named_twice_is_sorted_once(photos: Path) -> None:
    with Sorter(photos.parent / "out", Rules("m"), CLASSES) as sorter:
        assert sorter.wants(str(photos / "one" / "a.jpg"))
        assert not sorter.wants(str(photos / "two" / ".." / "one" / "a.jpg"))


def test_links_are_not_moved_as_they_may_lead_nowhere_then(photos: Path) -> None:
    (photos / "one" / "a.jpg").unlink()
    (photos / "one" / "a.jpg").symlink_to("../two/b.jpg")
    done = sort(photos, "move", only=slice(1))
    assert (done.files, done.missing, (photos / "one" / "a.jpg").read_text()) == (0, 1, "two/b.jpg")


def test_half_written_copies_of_a_killed_run_are_removed(photos: Path) -> None:
    (photos.parent / "out" / "cat").mkdir(parents=True)
    (photos.parent / "out" / "cat" / f".{'0' * 16}.part").write_text("half")
    (photos.parent / "out" / "cat" / ".mine.part").write_text("mine")
    sort(photos)
    assert [path.name for path in (photos.parent / "out" / "cat").glob(".*")] == [".mine.part"]


def test_another_model_or_way_is_refused(photos: Path) -> None:
    sort(photos)
    for model, way in (("other", "copy"), ("m", "move")):
        with pytest.raises(UsageError, match="choose another folder, or undo it first with --undo"):
            sort(photos, way, model=model)


def test_two_at_once_are_refused(photos: Path) -> None:
    with (
        Sorter(photos.parent / "out", Rules("m"), CLASSES),
        pytest.raises(UsageError, match="another whatsit is sorting"),
    ):
        Sorter(photos.parent / "out", Rules("m"), CLASSES)


def test_what_changed_since_stays_when_undone(photos: Path) -> None:
    sort(photos, "move")
    out = photos.parent / "out"
    (photos / "one" / "a.jpg").write_text("a new one")
    (out / "unsure" / "b.jpg").unlink()
    result = undo(out)
    assert result.files == 4
    assert any("cat/a.jpg: another file is at" in line for line in result.kept)
    assert any("unsure/b.jpg: it is no longer there" in line for line in result.kept)
    assert (photos / "one" / "a.jpg").read_text() == "a new one"
    (photos / "one" / "a.jpg").unlink()
    assert undo(out).files == 1
    assert (photos / "one" / "a.jpg").read_text() == "one/a.jpg"


def test_edited_copies_are_kept_when_undone(photos: Path) -> None:
    sort(photos)
    (photos.parent / "out" / "cat" / "a.jpg").write_text("edited")
    assert undo(photos.parent / "out").kept == [f"cat/a.jpg: it is no longer the same as {photos / 'one/a.jpg'}"]
    assert (photos.parent / "out" / "cat" / "a.jpg").read_text() == "edited"


def test_move_goes_to_another_disk(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def across(self: Path, target: Path) -> Path:
        if self.parent != target.parent:
            raise OSError(18, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", across)
    sort(photos, "move")
    assert (tree(photos.parent / "out"), tree(photos)) == (SORTED, {})


def test_file_that_another_program_put_there_meanwhile_is_not_replaced(photos: Path) -> None:
    with Sorter(photos.parent / "out", Rules("m", "move", 0.9), CLASSES) as sorter:
        sorter.sort(found(photos)[:1])
        (photos.parent / "out/cat/a-2.jpg").write_text("another's")
        sorter.sort(found(photos)[1:2])
    assert tree(photos.parent / "out") == {
        "cat/a.jpg": "one/a.jpg", "cat/a-2.jpg": "another's", "cat/a-3.jpg": "two/a.jpg",
    }  # fmt: skip


def test_file_that_is_gone_costs_only_itself(photos: Path) -> None:
    (photos / "one" / "a.jpg").unlink()
    done = sort(photos)
    assert (done.files, done.missing) == (5, 1)


def test_names_of_folders_suit_every_system() -> None:
    names = folder_names(("a/b", "A:B", "unknown", "con", "..", "ส้ม", "x. "))
    assert names == {
        "=a/b": "a_b", "=A:B": "A_B_2", "=unknown": "unknown", "=con": "_con", "=..": "_", "=ส้ม": "ส้ม", "=x. ": "x",
        "unknown": "unknown_2", "unsure": "unsure", "unreadable": "unreadable",
    }  # fmt: skip


@pytest.mark.parametrize("target", ["../../x", "/etc/passwd", "cat/..", "cat/a/b", "cat"])
def test_log_that_points_outside_is_refused(tmp_path: Path, target: str) -> None:
    lines = [{"model": "m", "way": "move", "sure": 0.0}, {"from": str(tmp_path / "x"), "to": target, "way": "move"}]
    (tmp_path / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match="this log of sorted files is damaged"):
        undo(tmp_path)


def test_folder_without_a_log_is_not_undone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing was sorted there"):
        undo(tmp_path)


@pytest.mark.parametrize("way", sorting.WAYS)
def test_new_photo_at_the_path_of_a_sorted_one_is_sorted_too(photos: Path, way: str) -> None:
    """Cameras begin again at IMG_0001."""
    sort(photos, way, only=slice(1))
    (photos / "one" / "a.jpg").write_text("a new one")
    with Sorter(photos.parent / "out", Rules("m", way, 0.9), CLASSES) as sorter:
        assert sorter.wants(str(photos / "one" / "a.jpg"))
        sorter.sort([(str(photos / "one" / "a.jpg"), prediction("dog"))])
    first = {} if way == "link" else {"cat/a.jpg": "one/a.jpg"}  # a link would show the new one among the cats
    assert tree(photos.parent / "out") == {**first, "dog/a.jpg": "a new one"}
    with Sorter(photos.parent / "out", Rules("m", way, 0.9), CLASSES) as sorter:
        assert not sorter.wants(str(photos / "one" / "a.jpg"))


def test_new_photo_that_is_of_the_same_class_keeps_its_link(photos: Path) -> None:
    sort(photos, "link", only=slice(1))
    (photos / "one" / "a.jpg").write_text("a new one")
    assert sort(photos, "link", only=slice(1)).files == 1
    assert tree(photos.parent / "out") == {"cat/a.jpg": "a new one"}
    assert sort(photos, "link", only=slice(1)).earlier == 1


def test_copied_file_whose_time_alone_has_changed_is_not_copied_again(photos: Path) -> None:
    sort(photos, only=slice(1))
    os.utime(photos / "one" / "a.jpg", (2_000_000, 2_000_000))
    assert (sort(photos, only=slice(1)).earlier, len(tree(photos.parent / "out"))) == (1, 1)


@pytest.mark.parametrize(("way", "files"), [("copy", 0), ("link", 0), ("move", 1)])
def test_logs_of_before_go_by_the_path(photos: Path, way: str, files: int) -> None:
    """But a file that was moved cannot be there still."""
    sort(photos, way, only=slice(1))
    log = photos.parent / "out" / LOG
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text(
        "".join(json.dumps({k: v for k, v in row.items() if k not in ("bytes", "changed")}) + "\n" for row in rows)
    )
    (photos / "one" / "a.jpg").write_text("a new one")
    assert sort(photos, way, only=slice(1)).files == files


def test_move_that_was_killed_between_copying_and_removing_is_ended(photos: Path) -> None:
    sort(photos, "move", only=slice(1))
    out = photos.parent / "out" / "cat" / "a.jpg"
    (photos / "one" / "a.jpg").write_text(out.read_text())
    os.utime(photos / "one" / "a.jpg", (1_000_000, 1_000_000))
    assert sort(photos, "move", only=slice(1)).earlier == 1
    assert (tree(photos / "one"), out.read_text()) == ({}, "one/a.jpg")


def test_file_that_changes_between_its_answer_and_its_sorting_is_left(photos: Path) -> None:
    path = photos / "one" / "a.jpg"
    with Sorter(photos.parent / "out", Rules("m", "move", 0.9), CLASSES) as sorter:
        assert sorter.wants(str(path))
        path.write_text("a new one, which nobody has looked at")
        sorter.sort(found(photos)[:1])
        assert (sorter.done.files, sorter.done.missing, path.exists()) == (0, 1, True)


def test_two_spellings_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    """A Mac takes a letter with its accent, and the same in two parts, for one name."""
    for folder, name in (("one", "caf\u00e9.jpg"), ("two", "cafe\u0301.jpg")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(folder)
    with Sorter(tmp_path / "out", Rules("m"), CLASSES) as sorter:
        sorter.sort([(str(path), prediction()) for path in sorted(tmp_path.glob("*/caf*.jpg"))])
    assert sorted(path.name for path in (tmp_path / "out" / "cat").iterdir()) == ["cafe\u0301-2.jpg", "caf\u00e9.jpg"]
    names = folder_names(("caf\u00e9", "cafe\u0301"))
    assert (names["=caf\u00e9"], names["=cafe\u0301"]) == ("caf\u00e9", "cafe\u0301_2")


def test_class_that_is_called_like_the_log_has_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("a")
    with Sorter(tmp_path / "out", Rules("m"), (LOG, "dog")) as sorter:
        sorter.sort([(str(tmp_path / "a.jpg"), prediction(LOG))])
    assert (tmp_path / "out" / f"{LOG}_2" / "a.jpg").is_file()


def test_longest_names_that_clash_are_cut(tmp_path: Path) -> None:
    name = "ก" * 83 + "ab.jpg"  # 255 bytes
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(folder)
    with Sorter(tmp_path / "out", Rules("m"), CLASSES) as sorter:
        sorter.sort([(str(tmp_path / folder / name), prediction()) for folder in ("one", "two")])
    assert {path.read_text(): path.name for path in (tmp_path / "out" / "cat").iterdir()} == {
        "one": name, "two": "ก" * 83 + "-2.jpg",
    }  # fmt: skip


@pytest.mark.parametrize("text", ['{"my": "data"}', '{"a": 1}\n{"b": 2}\nlast', "[]\n", "x"])
def test_file_of_another_program_with_the_name_of_the_log_is_not_touched(photos: Path, text: str) -> None:
    (photos.parent / "out").mkdir()
    (photos.parent / "out" / LOG).write_text(text)
    for attempt in (lambda: sort(photos), lambda: undo(photos.parent / "out")):
        with pytest.raises(DataError, match="this log of sorted files is damaged, or not whatsit's"):
            attempt()
    assert (photos.parent / "out" / LOG).read_text() == text


@pytest.mark.parametrize("text", ["", '{"mod', '{"model": "m", "way": "co'])
def test_log_whose_first_line_was_cut_short_is_begun_again(photos: Path, text: str) -> None:
    (photos.parent / "out").mkdir()
    (photos.parent / "out" / LOG).write_text(text)
    assert sort(photos).files == 6
    assert undo(photos.parent / "out").files == 6


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_log_that_is_a_pipe_or_a_link_is_refused(photos: Path) -> None:
    (photos.parent / "out").mkdir()
    os.mkfifo(photos.parent / "out" / LOG)
    with pytest.raises(DataError, match="damaged"):
        sort(photos)
    (photos.parent / "out" / LOG).unlink()
    (photos.parent / "mine.txt").touch()
    (photos.parent / "out" / LOG).symlink_to(photos.parent / "mine.txt")
    with pytest.raises(DataError, match="damaged"):
        sort(photos)
    assert (photos.parent / "mine.txt").read_text() == ""


def test_folder_of_a_class_that_is_a_link_is_refused(photos: Path) -> None:
    (photos.parent / "out").mkdir()
    (photos.parent / "out" / "cat").symlink_to(photos / "one")
    with pytest.raises(UsageError, match="this is a link"):
        sort(photos)


def write_log(folder: Path, way: str, *entries: tuple[Path, str]) -> None:
    rows = [{"model": "m", "way": way, "sure": 0.9}, *({"from": str(a), "to": b, "way": way} for a, b in entries)]
    (folder / LOG).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_log_of_somebody_else_puts_no_programs_anywhere(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "profile").write_text("rm -rf ~")
    write_log(tmp_path, "move", (tmp_path / "home" / ".profile", "cat/profile"))
    [reason] = undo(tmp_path).kept
    assert reason.endswith(".profile is not named like a picture; move it there yourself")
    assert not (tmp_path / "home").exists()


def test_log_of_somebody_else_takes_no_files_from_elsewhere(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cat").symlink_to(photos / "one")
    for way, source in (("move", tmp_path / "public.jpg"), ("copy", photos / "one" / "a.jpg")):
        write_log(tmp_path / "out", way, (source, "cat/a.jpg"))
        assert undo(tmp_path / "out").kept == ["cat/a.jpg: cat is a link to elsewhere"]
    assert (photos / "one" / "a.jpg").is_file()


def test_target_that_two_files_were_planned_for_is_put_back_to_the_last_one(photos: Path) -> None:
    out = photos.parent / "out"
    (out / "cat").mkdir(parents=True)
    (photos / "two" / "a.jpg").rename(out / "cat" / "a.jpg")
    (photos / "two" / "a.jpg").write_text("another file")
    (photos / "one" / "a.jpg").unlink()
    write_log(out, "move", (photos / "one" / "a.jpg", "cat/a.jpg"), (photos / "two" / "a.jpg", "cat/a.jpg"))
    undo(out)
    assert not (photos / "one" / "a.jpg").exists()


def test_file_that_may_not_be_removed_is_not_moved(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink

    def refused(self: Path, missing_ok: bool = False) -> None:
        if self.parent == photos / "one":
            raise PermissionError(13, "Permission denied", str(self))
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK)
    done = sort(photos, "move", only=slice(2))
    assert (done.files, done.missing) == (1, 1)
    assert tree(photos.parent / "out") == {"cat/a-2.jpg": "two/a.jpg"}
