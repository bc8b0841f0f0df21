"""Object stores: a bucket of moto's, and a server that fails in all the ways they do."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import encode, shapes
from whatsit.errors import UsageError
from whatsit.events import SILENT
from whatsit.images.data import open_data
from whatsit.images.locate import PATIENCE, Reader
from whatsit.images.manifest import ImageRow, Manifest
from whatsit.images.places import REQUEST, BucketPlace, FolderPlace, MissingFileError, PlaceError, open_place
from whatsit.run.record import Run
from whatsit.scale.supervise import STALL
from whatsit.verbs.answers import answers
from whatsit.verbs.predict_shards import predict_shards
from whatsit.verbs.shard import shard

PICTURE = encode(shapes("disc", 1))
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "a-secret", "AWS_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty bucket."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="museum")
    yield "s3://museum"
    for entry in client.list_objects_v2(Bucket="museum").get("Contents", []):
        client.delete_object(Bucket="museum", Key=entry["Key"])
    client.delete_bucket(Bucket="museum")


def test_bucket_holds_what_is_written(bucket: str) -> None:
    place = open_place(f"{bucket}/photos")
    for number in range(3):
        place.write(f"{number}.bin", bytes(range(10 * number, 10 * number + 10)))
    assert list(place.list()) == [(f"{number}.bin", 10) for number in range(3)]
    assert place.read("1.bin") == bytes(range(10, 20))
    assert place.read("1.bin", 3, 4) == bytes(range(13, 17))
    with place.open("2.bin") as file:
        assert file.seek(5) == 5
        assert file.read() == bytes(range(25, 30))
    with pytest.raises(MissingFileError, match=r"s3://museum/photos/9\.bin: there is no such file"):
        place.read("9.bin")


def test_list_of_a_bucket_goes_on_over_pages(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = open_place(bucket)
    for number in range(7):
        place.write(f"{number}.png", b"1")
    plain = BucketPlace._page
    monkeypatch.setattr(BucketPlace, "_page", lambda self, after: (plain(self, after) or [])[:3])
    assert [key for key, _ in place.list()] == [f"{number}.png" for number in range(7)]


def test_shards_go_from_bucket_to_bucket(baseline_run: Run, bucket: str, tmp_path: Path) -> None:
    place = open_place(f"{bucket}/photos")
    for number, kind in enumerate(("disc", "rows", "columns", "disc", "rows")):
        place.write(f"{kind}/{number}.png", encode(shapes(kind, number)))
    made = shard(f"{bucket}/photos", f"{bucket}/lists/photos", rows=2)
    assert (made.images, made.shards) == (5, 3)
    summary = predict_shards(baseline_run.folder, f"{bucket}/lists/photos", f"{bucket}/answers", workers=1)
    assert (summary.images, summary.errors, summary.expected, summary.complete) == (5, 0, 5, True)
    assert answers(f"{bucket}/answers", tmp_path / "all.csv").images == 5
    again = predict_shards(baseline_run.folder, f"{bucket}/lists/photos", f"{bucket}/answers", workers=1)
    assert again == summary


def test_empty_prefix_is_told(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="s3://museum/nothing: no pictures found"):
        shard(f"{bucket}/nothing", tmp_path)


def test_wrong_credentials_are_told_without_them(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Faulty(["403"] * 1000) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(PlaceError, match="check the credentials") as error:
            open_place("s3://museum").read("a.png")
    assert "a-secret" not in str(error.value)


def test_missing_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    place = BucketPlace("s3://museum")
    why = "Error performing PUT http://169.254.169.254/latest/api/token: no route"

    def refuse() -> bytes:
        raise OSError(why)

    with pytest.raises(PlaceError, match=r"s3://museum/a\.png: no credentials were found"):
        place._patiently(refuse, "a.png")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://key:secret@bucket/a", "must hold no password"),
        ("https://host/a?X-Amz-Signature=abc", "must hold no password"),
        ("ftp://host/a", "'ftp://' is not read"),
        ("", "the place is empty"),
    ],
)
def test_addresses_that_are_refused(address: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        open_place(address)
    assert "secret@" not in str(error.value)
    assert "abc" not in str(error.value)


def test_file_address_is_a_folder(tmp_path: Path) -> None:
    place = open_place(f"file://{tmp_path}/a%20b")
    assert isinstance(place, FolderPlace)
    assert place.folder == tmp_path / "a b"


class Server(http.server.BaseHTTPRequestHandler):
    """Answers as `answer` says, in turn; then as it should."""

    protocol_version = "HTTP/1.1"
    ways: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        way = self.ways.pop(0) if self.ways else "good"
        if way.isdigit():
            self.send_error(int(way))
            return
        if way == "stall":
            self.rfile.read(1)  # until the other side gives up
            return
        if way == "drop":
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(PICTURE)))
        self.send_header("Last-Modified", "Sat, 28 Nov 2026 00:00:00 GMT")
        self.end_headers()
        if way == "cut":
            self.wfile.write(PICTURE[: len(PICTURE) // 2])
            self.close_connection = True
        elif self.command == "GET":
            self.wfile.write(PICTURE)

    def log_message(self, *_: object) -> None:
        pass


class Faulty:
    """A site whose first answers fail."""

    def __init__(self, ways: list[str]) -> None:
        handler = type("Handler", (Server,), {"ways": list(ways)})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize("way", ["503", "drop", "cut"])
def test_image_is_read_though_the_store_fails_for_a_time(way: str) -> None:
    with Faulty([way] * 3) as address:
        assert Reader(address).read(ImageRow("a.png")) == PICTURE


def test_store_that_stays_away_is_told() -> None:
    with Faulty(["503"] * 1000) as address:
        place = BucketPlace(address, delays=(0.0,), repeats=0)
        with pytest.raises(PlaceError, match=r"a\.png: failed 2 times, the last time with"):
            place.read("a.png")


def test_address_to_train_on_must_be_a_manifest(bucket: str) -> None:
    with pytest.raises(UsageError, match=r"s3://museum/photos: no manifest is there; make one with: whatsit shard"):
        open_data(f"{bucket}/photos", SILENT)


def test_site_has_no_list_and_is_not_written() -> None:
    place = open_place("https://example.org/photos")
    with pytest.raises(PlaceError, match="has no list of its files"):
        list(place.list())
    with pytest.raises(PlaceError, match="cannot be written"):
        place.write("a.png", b"")


def test_list_of_addresses_is_read(tmp_path: Path) -> None:
    with Faulty([]) as address:
        (tmp_path / "list.csv").write_text(f"path,label\n{address}/a.png,cat\n")
        shard(tmp_path / "list.csv", tmp_path / "place")
        [row] = Manifest(open_place(tmp_path / "place")).rows()
        assert (row.uri, row.label) == (f"{address}/a.png", "cat")
        assert Reader(str(tmp_path)).read(row) == PICTURE


def test_store_that_is_gone_ends_the_work(baseline_run: Run, bucket: str, tmp_path: Path) -> None:
    place = open_place(f"{bucket}/photos")
    for number in range(9):
        place.write(f"{number}.png", PICTURE)
    shard(f"{bucket}/photos", tmp_path / "place")
    with Faulty(["403"] * 1000) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(PlaceError, match=r"the pictures cannot be reached: .*check the credentials"):
            predict_shards(baseline_run.folder, tmp_path / "place", tmp_path / "answers", workers=1)
    assert not list((tmp_path / "answers").glob("part-*"))
    assert predict_shards(baseline_run.folder, tmp_path / "place", tmp_path / "answers", workers=1).errors == 0


def test_job_in_a_bucket_is_not_replaced(bucket: str) -> None:
    place = open_place(bucket)
    place.write_new("job.json", b"first")
    place.write_new("job.json", b"second")
    assert place.read("job.json") == b"first"


def test_bucket_that_does_not_exist_is_told_at_once(bucket: str) -> None:
    with pytest.raises(MissingFileError, match="s3://nowhere: there is no such bucket or folder"):
        list(open_place("s3://nowhere").list())


def test_an_image_is_given_up_before_its_process_is_taken_for_stalled() -> None:
    assert sum(PATIENCE) + REQUEST * (len(PATIENCE) + 1) < STALL


def test_image_is_read_though_the_store_stalls() -> None:
    with Faulty(["stall"]) as address:
        place = BucketPlace(address, delays=(0.0,), repeats=0, seconds=0.3)
        assert place.read("a.png") == PICTURE


@pytest.mark.parametrize("address", ["http://[x", "s3://[b/a"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is no usable address"):
        open_place(address)
