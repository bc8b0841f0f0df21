"""The names under which a service may be asked, and the path below which a proxy serves it."""

from __future__ import annotations

import socket

import pytest

from tests.apps.api.conftest import Running, running
from whatsit.apps.api.names import Names, names_of, read_allowed, read_root_path
from whatsit.errors import UsageError
from whatsit.run.record import Run

MINE = socket.gethostname().lower()


@pytest.mark.parametrize(
    "header",
    [
        "",
        "localhost",
        "localhost:8000",
        "LOCALHOST.:8000",
        "pets.localhost:8000",
        "127.0.0.1:8000",
        "127.0.0.1",
        "[::1]:8000",
        "[::1]",
        "192.168.1.5:8000",
        "[2001:db8::7]:8000",
        "host.docker.internal:8000",
        "host.containers.internal",
        "nas:8000",
        f"{MINE}:8000",
        f"{MINE.partition('.')[0]}.local",
    ],
)
def test_names_of_this_computer_and_addresses_are_taken(header: str) -> None:
    assert Names("127.0.0.1").has(header.encode())


@pytest.mark.parametrize(
    "header",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "evil.example:8000:8000",
        "[::1].evil.example",
        "other.local",
        "[",
        "\xff",
    ],
)
def test_names_of_others_are_not_taken(header: str) -> None:
    names = Names("127.0.0.1")
    assert not names.has(header.encode("latin-1"))
    assert not names.has(header.encode("latin-1"))


@pytest.mark.parametrize(
    ("allowed", "header", "taken"),
    [
        ("pets.example", "Pets.Example:443", True),
        ("pets.example", "a.pets.example", False),
        ("*.pets.example", "a.b.pets.example", True),
        ("*.pets.example", "pets.example", False),
        ("*.pets.example", "evilpets.example", False),
        ("*", "whoever.example", True),
        ("http://pets.example", "pets.example", None),
        ("a b", "", None),
        ("", "", None),
        ("bücher.example", "xn--bcher-kva.example", True),
    ],
)
def test_allowed_names(allowed: str, header: str, taken: bool | None) -> None:
    if taken is None:
        with pytest.raises(UsageError, match=r"--allow-host .*: this is no name of a host"):
            read_allowed([allowed])
    else:
        assert Names("127.0.0.1", read_allowed([allowed])).has(header.encode()) == taken


@pytest.mark.parametrize(
    ("host", "allowed", "keys", "checked"),
    [
        ("127.0.0.1", (), False, True),
        ("::1", (), False, True),
        ("localhost", (), False, True),
        ("127.0.0.1", (), True, False),
        ("0.0.0.0", (), False, False),
        ("::", (), False, False),
        ("192.168.1.5", (), False, False),
        ("pets.example", (), False, False),
        ("0.0.0.0", ("pets.example",), False, True),
        ("127.0.0.1", ("pets.example",), True, True),
    ],
)
def test_names_are_checked_where_a_page_of_a_stranger_could_get_in(
    host: str, allowed: tuple[str, ...], keys: bool, checked: bool
) -> None:
    names = names_of(host, allowed, keys=keys)
    assert (names is not None and not names.has(b"evil.example")) == checked
    assert names is None or names.has(b"127.0.0.1")


def test_name_of_a_stranger_is_refused_everywhere_with_what_to_do(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder], host="127.0.0.1") as service:
        evil = {"Host": "evil.example:80"}
        asked = [("GET", "/"), ("GET", "/livez"), ("GET", "/v1/models"), ("POST", "/v1/predict"), ("GET", "/metrics")]
        found = [service.ask(method, path, disc if method == "POST" else None, evil) for method, path in asked]
        assert service.ask("POST", "/v1/predict", disc, {"Host": "localhost"}).status == 200
    assert {one.status for one in found} == {403}
    assert found[0].json["error"].endswith("start it with --allow-host evil.example")


@pytest.mark.parametrize(
    ("given", "path"),
    [(None, ""), ("", ""), ("/", ""), ("pets", "/pets"), ("/pets/", "/pets"), ("/a/b-c.d_~1", "/a/b-c.d_~1")],
)
def test_root_path_is_put_right(given: str | None, path: str) -> None:
    assert read_root_path(given) == path


@pytest.mark.parametrize(
    "given", ["https://pets.example/pets", "/a//b", "/a b", "/..", "/a/./b", "/a?b", "/a#b", '/"', "/รูป", "/a\nb"]
)
def test_root_path_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match=r"--root-path .*: this is no path; it looks like /pets"):
        read_root_path(given)


@pytest.mark.parametrize("given", ["/v1", "/v2/pets", "metrics"])
def test_root_path_like_the_services_own_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="the service's own addresses begin so"):
        read_root_path(given)


def test_every_route_is_there_with_the_path_and_without_it(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder], root_path="/pets") as service:
        for root in ("/pets", ""):
            for path in ("/", "/page.js", "/livez", "/v1/models", "/v2/models/baseline", "/metrics", "/openapi.json"):
                assert service.ask("GET", root + path).status == 200
                assert service.ask("HEAD", root + path).status == 200
            assert service.ask("POST", f"{root}/v1/predict", disc).json["label"] == "disc"
            assert service.ask("POST", f"{root}/v1/predict?top=1", disc).json["label"] == "disc"
        service.until('route="/v1/predict",status="200"} 4.0')
        found = service.ask("GET", "/pets/nothing")
        assert (found.status, found.json["error"]) == (404, "there is nothing at /pets/nothing; see /pets/openapi.json")
        assert service.ask("GET", "/petsv1/models").status == 404
        assert service.ask("GET", "/pets").status == 200


def test_description_names_the_path(baseline_run: Run) -> None:
    with running([baseline_run.folder], root_path="/pets") as service:
        for path in ("/openapi.json", "/pets/openapi.json"):
            found = service.ask("GET", path).json
            assert found["servers"] == [{"url": "/pets"}]
            assert "/v1/predict" in found["paths"]
            assert "http://127.0.0.1:8000/pets/v1/predict" in found["info"]["description"]


def test_page_asks_below_the_path(baseline_run: Run, api: Running) -> None:
    with running([baseline_run.folder], root_path="/pets") as service:
        assert {'<base href="/pets/">' in service.ask("GET", at).data.decode() for at in ("/", "/pets", "/pets/")} == {
            True
        }
    assert b"<base" not in api.ask("GET", "/").data


def test_keys_are_asked_for_below_the_path_too(baseline_run: Run) -> None:
    with running([baseline_run.folder], root_path="/pets", keys=("0123456789abcdef",)) as service:
        assert [service.ask("GET", f"/pets{path}").status for path in ("/v1/models", "/", "/livez")] == [401, 200, 200]
