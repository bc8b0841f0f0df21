from __future__ import annotations

import base64
import http.server
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

import whatsit
from tests.apps.api.conftest import Running, running
from tests.conftest import encode, shapes
from tests.prices import overruling
from whatsit.errors import ImageError, ServiceError, UsageError
from whatsit.images.decode import Source
from whatsit.run.record import Run
from whatsit.runtime.predictor import Predictor
from whatsit.verbs.costs import put_costs

KEY = "a-key-of-16-or-more"


@pytest.fixture(scope="module")
def predictor(baseline_run: Run) -> Predictor:
    return baseline_run.load()


def alike(found: list[whatsit.Prediction], wanted: list[whatsit.Prediction]) -> bool:
    return [(one.label, one.unknown, one.labels) for one in found] == [
        (one.label, one.unknown, one.labels) for one in wanted
    ] and all(
        dict(one.top) == pytest.approx(dict(other.top), abs=1e-5) for one, other in zip(found, wanted, strict=True)
    )


def test_it_answers_as_a_predictor_does(api: Running, predictor: Predictor, disc: bytes, tmp_path: Path) -> None:
    path = tmp_path / "รูป.png"
    path.write_bytes(disc)
    pictures = [disc, path, str(path), Image.fromarray(shapes("rows", 3))]
    with whatsit.Client(api.url) as client:
        assert alike(client.predict(pictures, top=2, coverage=0.9), predictor.predict(pictures, top=2, coverage=0.9))


def test_many_pictures_take_several_requests(api: Running, predictor: Predictor) -> None:
    pictures = [encode(shapes("disc", seed)) for seed in range(70)]
    with whatsit.Client(api.url, model="baseline") as client:
        assert alike(client.predict(pictures), predictor.predict(pictures))


def photo(side: int = 48, orientation: int = 1) -> Image.Image:
    """A JPEG file that PIL has opened and not loaded."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return Image.open(io.BytesIO(encode(shapes("rows", 3, side)[:, : side - 8], "JPEG", exif=exif)))


def loaded(picture: Image.Image) -> Image.Image:
    picture.load()
    return picture


@pytest.mark.parametrize(
    "make",
    [
        lambda: photo(orientation=6),
        lambda: loaded(photo(orientation=6)),
        lambda: photo(side=300),
        *(lambda mode=mode: photo().convert(mode) for mode in ("CMYK", "YCbCr", "LAB", "HSV")),
    ],
    ids=["turned", "turned and loaded", "large", "CMYK", "YCbCr", "LAB", "HSV"],
)
def test_pil_picture_is_answered_as_by_a_predictor(
    api: Running, predictor: Predictor, make: Callable[[], Image.Image]
) -> None:
    with whatsit.Client(api.url) as client:
        assert alike(client.predict([make()]), predictor.predict([make()]))


def closed() -> Image.Image:
    with photo() as picture:
        return picture


@pytest.mark.parametrize("make", [lambda: b"words", closed], ids=["words", "closed"])
def test_unreadable_picture_is_told_in_the_same_words(
    api: Running, predictor: Predictor, disc: bytes, make: Callable[[], Source]
) -> None:
    told = []
    with whatsit.Client(api.url) as client:
        for answering in (client, predictor):
            with pytest.raises(ImageError) as error:
                answering.predict([disc, make()])
            told.append((str(error.value), error.value.reason))
    assert told[0] == told[1]


def test_unreadable_picture_among_others_gets_its_own_error(api: Running, disc: bytes, tmp_path: Path) -> None:
    items: list[str | bytes] = [disc, b"words", str(tmp_path / "none.png"), disc]
    with whatsit.Client(api.url) as client:
        answers = [answer for _, answer in client.predict_each(items, lambda item: item)]
    assert [getattr(answer, "label", "failed") for answer in answers] == ["disc", "failed", "failed", "disc"]


def test_models_are_listed(api: Running) -> None:
    with whatsit.Client(api.url) as client:
        assert [model["name"] for model in client.models()] == ["baseline", "hostile"]


def test_key_is_brought(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder], keys=(KEY,)) as service:
        with whatsit.Client(service.url, key=KEY) as client:
            assert client.predict([disc])[0].label == "disc"
        words = "an API key is needed.*key=.*WHATSIT_API_KEY"
        with whatsit.Client(service.url) as client, pytest.raises(ServiceError, match=words):
            client.predict([disc])


def test_unknown_model_is_told(api: Running, disc: bytes) -> None:
    with (
        whatsit.Client(api.url, model="basline") as client,
        pytest.raises(ServiceError, match="did you mean 'baseline'"),
    ):
        client.predict([disc])


@pytest.mark.parametrize(
    "url", ["ftp://host", "http://", "http://host:99999", "host:8000", "http://[::1", "http://a..b"]
)
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(UsageError, match="no address of a service"):
        whatsit.Client(url)


def test_service_that_is_not_there_is_told(disc: bytes) -> None:
    with whatsit.Client("http://127.0.0.1:9") as client, pytest.raises(ServiceError, match="cannot be reached"):
        client.predict([disc])


class Busy(http.server.BaseHTTPRequestHandler):
    """Is busy twice, closes the connection each time, then answers."""

    asked = 0
    answer = json.dumps(
        {
            "answers": [
                {"label": "cat", "probability": 1.0, "unknown": False, "top": [{"label": "cat", "probability": 1.0}]}
            ]
        }
    ).encode()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        type(self).asked += 1
        busy = type(self).asked < 3
        data = b'{"error": "busy"}' if busy else self.answer
        self.send_response(429 if busy else 200)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server."""
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def busy() -> Iterator[str]:
    Busy.asked = 0
    with served(Busy) as address:
        yield address


def test_busy_service_is_asked_again(busy: str) -> None:
    with whatsit.Client(busy) as client:
        assert client.predict([b"any"])[0].label == "cat"
    assert Busy.asked == 3


@pytest.mark.parametrize("status", [502, 504])
def test_proxy_whose_service_does_not_answer_is_told(status: int) -> None:
    class Proxy(Busy):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_error(status)  # a page, as nginx has one

    words = f"answered {status}: the service behind it"
    with served(Proxy) as address, whatsit.Client(address) as client, pytest.raises(ServiceError, match=words):
        client.predict([b"any"])


@pytest.mark.parametrize(
    "answer", ["[]", "{}", '{"answers": 5}', '{"answers": [{}]}', '{"answers": [5]}', '{"answers": []}']
)
def test_answers_of_another_form_are_told(busy: str, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(Busy, "answer", answer.encode())
    with whatsit.Client(busy) as client, pytest.raises(ServiceError, match="no service of whatsit"):
        client.predict([b"any"])


def test_service_that_takes_less_at_a_time_is_asked_for_less(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder], max_pictures=3) as service, whatsit.Client(service.url) as client:
        assert [answer.label for answer in client.predict([disc] * 10)] == ["disc"] * 10


LARGE = 32 * 1024 * 1024  # more than the system sends before anybody reads


@pytest.mark.parametrize("size", [200_000, LARGE], ids=["sent whole", "cut off"])
def test_picture_too_large_for_the_service_gets_its_own_error(baseline_run: Run, disc: bytes, size: int) -> None:
    with running([baseline_run.folder], max_body=100_000) as service, whatsit.Client(service.url) as client:
        answers = [answer for _, answer in client.predict_each([disc, bytes(size), disc], lambda item: item)]
    assert [getattr(answer, "label", "failed") for answer in answers] == ["disc", "failed", "disc"]
    assert isinstance(answers[1], ImageError)
    assert answers[1].reason == "too_many_bytes"
    assert "at most 100,000 are taken" in str(answers[1])


class Proxy(http.server.BaseHTTPRequestHandler):
    """Stands before a service and lets no pictures through: it refuses them, or ends the connection."""

    refuses = True
    alive = True

    def do_POST(self) -> None:
        if self.refuses:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_error(413)

    def do_GET(self) -> None:
        if self.alive:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"models": []}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("refuses", [True, False], ids=["refused", "cut off"])
def test_picture_that_a_proxy_does_not_let_through_gets_its_own_error(
    monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    monkeypatch.setattr(Proxy, "refuses", refuses)
    with served(Proxy) as address, whatsit.Client(address) as client:
        [(_, answer)] = client.predict_each([bytes(LARGE)], lambda item: item)
    assert isinstance(answer, ImageError)
    assert answer.reason == "too_many_bytes"
    assert str(answer).startswith(f"too large for the service {address}: ")


def test_service_that_ends_every_connection_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Proxy, "refuses", False)
    monkeypatch.setattr(Proxy, "alive", False)
    with (
        served(Proxy) as address,
        whatsit.Client(address) as client,
        pytest.raises(ServiceError, match="the service cannot be reached"),
    ):
        client.predict([bytes(LARGE)])


def test_key_that_no_request_can_bring_is_told() -> None:
    with pytest.raises(UsageError, match="no request can bring"):
        whatsit.Client("http://127.0.0.1:8000", key="รหัส")


def test_other_servers_answers_are_told(busy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Busy, "answer", b"<html>")
    with whatsit.Client(busy) as client, pytest.raises(ServiceError, match="no service of whatsit"):
        client.predict([b"any"])


def test_answers_that_cost_least_come_with_their_reason(baseline_run: Run, disc: bytes, tmp_path: Path) -> None:
    model = tmp_path / "careful.whatsit"
    put_costs(baseline_run.folder, overruling(baseline_run.model, "rows", [disc]), model)
    [wanted] = Predictor(model).predict([disc], top=3)
    assert wanted.label == "rows"
    assert wanted.overruled is not None
    with running([model]) as service, whatsit.Client(service.url) as client:
        [found] = client.predict([disc], top=3)
        body = json.dumps(
            {
                "inputs": [
                    {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(disc).decode()]}
                ],
                "outputs": [{"name": "label"}],
            }
        ).encode()
        answer = service.ask("POST", "/v2/models/careful/infer", body, {"Content-Type": "application/json"}).json
    assert alike([found], [wanted])
    assert found.overruled is not None
    assert found.overruled.label == wanted.overruled.label
    assert found.overruled.cost == pytest.approx(wanted.overruled.cost, rel=1e-3)
    assert answer["outputs"][0]["data"] == ["rows"]
