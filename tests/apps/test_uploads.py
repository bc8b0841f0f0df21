"""What visitors upload is bounded, and goes with the app."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from whatsit.apps.uploads import LOCK, PREFIX, UploadLimit, remove_abandoned, upload_folder

OLD = time.time() - 1000


def test_folder_is_its_users_alone_and_goes_at_the_end(tmp_path: Path) -> None:
    with upload_folder(tmp_path / "new") as folder:
        (folder / "picture.jpg").write_bytes(b"1")
        assert os.name != "posix" or folder.stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "new").iterdir()) == []


def test_folder_of_a_killed_process_goes_at_the_next_start(tmp_path: Path) -> None:
    killed = (
        "import os, pathlib, sys\nfrom whatsit.apps.uploads import upload_folder\n"
        "with upload_folder(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'picture.jpg').write_bytes(b'1')\n    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False).returncode != 0
    [left] = tmp_path.iterdir()
    assert (left / "picture.jpg").is_file()
    with upload_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_folders_of_others_stay(tmp_path: Path) -> None:
    with upload_folder(tmp_path) as living:
        making = tmp_path / f"{PREFIX}making"  # its lock is not there yet
        strange = tmp_path / "another's"
        for folder in (making, strange):
            folder.mkdir()
        (tmp_path / "target").mkdir()
        (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "target")
        remove_abandoned(tmp_path)
        assert living.is_dir()
        assert making.is_dir()
        assert strange.is_dir()
        assert (tmp_path / "target").is_dir()
        os.utime(making, (OLD, OLD))
        remove_abandoned(tmp_path)
        assert not making.exists()


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    """An app that keeps each upload as a file, where 100 bytes and 4 files have room."""

    async def keep(request: Request) -> PlainTextResponse:
        data = await request.body()
        (tmp_path / request.query_params["name"]).write_bytes(data)
        return PlainTextResponse("kept")

    inner = Starlette(routes=[Route("/upload", keep, methods=["POST"]), Route("/other", keep, methods=["POST"])])
    return TestClient(UploadLimit(inner, tmp_path, upload="/upload", max_bytes=100, max_files=4))


def put(client: TestClient, name: str, count: int, path: str = "/upload") -> int:
    return client.post(f"{path}?name={name}", content=bytes(count)).status_code


def age(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        os.utime(folder / name, (OLD + number, OLD + number))


def test_oldest_uploads_make_room(client: TestClient, tmp_path: Path) -> None:
    assert [put(client, name, 40) for name in "ab"] == [200, 200]
    age(tmp_path, "b", "a")
    assert put(client, "c", 40) == 200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]


def test_many_small_uploads_make_room_too(client: TestClient, tmp_path: Path) -> None:
    for name in "abcd":
        put(client, name, 1)
    age(tmp_path, *"abcd")
    assert put(client, "e", 1) == 200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c", "d", "e"]


def test_uploads_whose_answers_may_be_on_the_way_stay(client: TestClient, tmp_path: Path) -> None:
    assert [put(client, name, 40) for name in "ab"] == [200, 200]
    answer = client.post("/upload?name=c", content=bytes(40))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert "try again in a minute" in answer.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_upload_that_does_not_say_how_large_it_is_ends_at_the_bound(client: TestClient, tmp_path: Path) -> None:
    answer = client.post("/upload?name=a", content=iter([bytes(60), bytes(60), bytes(60)]))
    assert answer.status_code == 503
    assert list(tmp_path.iterdir()) == []
    assert put(client, "b", 90) == 200  # what did not come takes no room


def test_other_requests_are_let_through(client: TestClient) -> None:
    assert put(client, "a", 1000, "/other") == 200


def test_lock_has_the_name_that_is_looked_for(tmp_path: Path) -> None:
    with upload_folder(tmp_path) as folder:
        assert (folder / LOCK).is_file()
