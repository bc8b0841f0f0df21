"""Whose pages may ask an app, by which name, and below which path."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from whatsit.apps.site import OwnPages, Site, site_at
from whatsit.errors import UsageError

LAN = "192.168.1.5"


@pytest.mark.parametrize(
    ("text", "root_path", "public"),
    [
        (None, "", ""),
        ("", "", ""),
        ("/", "", ""),
        ("/pets", "/pets", ""),
        ("pets/", "/pets", ""),
        ("//lab/pets//", "/lab/pets", ""),
        ("https://example.org", "", "https://example.org"),
        ("https://example.org:8443/lab/pets/", "/lab/pets", "https://example.org:8443"),
        ("http://[::1]:80/a.b", "/a.b", "http://[::1]:80"),
    ],
)
def test_root_path_is_a_path_or_an_address(text: str | None, root_path: str, public: str) -> None:
    site = site_at("127.0.0.1", text)
    assert (site.root_path, site.public) == (root_path, public)
    assert site.is_private == (not root_path and not public)


@pytest.mark.parametrize(
    "text",
    [
        "/../etc",
        "/a/./b",
        "/a b",
        "/a?b",
        "/สัตว์",
        "ftp://example.org",
        "https://",
        "https://u@example.org",
        "https://a:b/c",
    ],
)
def test_nonsense_for_a_root_path_is_refused_with_what_is_wanted(text: str) -> None:
    with pytest.raises(UsageError, match=r"--root-path .* such as /pets or https://example.org/pets"):
        site_at("127.0.0.1", text)


@pytest.mark.parametrize(
    ("host", "path", "address"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:1"),
        ("::", None, "http://[::1]:1"),
        ("0.0.0.0", "/pets", "http://127.0.0.1:1/pets/"),
    ],
)
def test_address_ends_below_the_root_path(host: str, path: str | None, address: str) -> None:
    assert site_at(host, path).url(1) == address


def is_let_in(site: Site, **headers: str) -> bool:
    return site.trouble(Headers({name.replace("_", "-"): value for name, value in headers.items()})) is None


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8501", "localhost", "LOCALHOST.:1", "[::1]:8501", "127.9.9.9", "app.localhost:1"]
)
def test_own_computer_is_known_by_its_own_names(host: str) -> None:
    assert is_let_in(site_at("127.0.0.1", None), host=host)
    assert is_let_in(site_at("127.0.0.1", None), host=host, origin=f"http://{host}")


@pytest.mark.parametrize("bound", ["127.0.0.1", "::1", "localhost"])
@pytest.mark.parametrize("host", ["evil.example:8501", "127.0.0.1.evil.example", "localhost.evil.example", LAN])
def test_name_that_somebody_points_at_this_computer_is_refused(bound: str, host: str) -> None:
    """DNS rebinding: to the browser the page is the app's own."""
    assert not is_let_in(site_at(bound, None), host=host, origin=f"http://{host}")


def test_app_for_the_network_may_have_any_name() -> None:
    assert is_let_in(site_at("0.0.0.0", None), host="lab.example:8501", origin="http://lab.example:8501")


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://evil.example:8501", "null", "file://", "http://[", f"http://{LAN}"]
)
def test_pages_of_other_sites_are_refused(bound: str, origin: str) -> None:
    assert not is_let_in(site_at(bound, None), host="127.0.0.1:8501", origin=origin)
    assert not is_let_in(site_at(bound, "/pets"), host="127.0.0.1:8501", origin=origin)


def test_page_of_this_computer_cannot_ask_by_the_networks_name() -> None:
    assert not is_let_in(site_at("0.0.0.0", None), host=f"{LAN}:8501", origin="http://localhost:3000")


def test_proxy_may_hand_on_the_visitors_host_or_say_it_or_be_named() -> None:
    origin = "https://pets.example"
    assert is_let_in(site_at("127.0.0.1", "/pets"), host="pets.example", origin=origin)
    assert is_let_in(
        site_at("127.0.0.1", "/pets"), host="127.0.0.1:8501", x_forwarded_host="pets.example", origin=origin
    )
    assert is_let_in(site_at("127.0.0.1", "https://pets.example"), host="127.0.0.1:8501", origin=origin)
    assert is_let_in(site_at("127.0.0.1", "https://pets.example/pets"), host="pets.example", origin=origin)
    assert not is_let_in(
        site_at("127.0.0.1", "https://pets.example/pets"), host="evil.example", origin="http://evil.example"
    )


def echo(site: Site, **options: Any) -> TestClient:
    """An app that says which path and origin reach it."""

    async def answer(request: Request) -> JSONResponse:
        values = request.scope["path"], request.scope["raw_path"].decode(), request.headers.get("origin")
        return JSONResponse(values)

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.scope["path"])
        await websocket.close()

    inner = Starlette(routes=[Route("/{rest:path}", answer), WebSocketRoute("/{rest:path}", talk)])
    return TestClient(OwnPages(inner, site, **options), base_url="http://127.0.0.1:8501", follow_redirects=False)


@pytest.mark.parametrize("path", ["/pets/a%20b", "/a%20b"])
def test_root_path_is_taken_off_whether_the_proxy_did_or_not(path: str) -> None:
    assert echo(site_at("127.0.0.1", "/pets")).get(path).json() == ["/a b", "/a%20b", None]


@pytest.mark.parametrize("path", ["/pets/a%20b", "/a%20b"])
def test_root_path_is_put_on_where_it_is_wanted(path: str) -> None:
    client = echo(site_at("127.0.0.1", "/pets"), keeps=True, without=("/own/",))
    assert client.get(path).json() == ["/pets/a b", "/pets/a%20b", None]
    assert client.get("/pets/own/x").json()[0] == client.get("/own/x").json()[0] == "/own/x"


def test_name_that_begins_alike_is_not_below_the_root_path() -> None:
    assert echo(site_at("127.0.0.1", "/pets")).get("/petshop").json()[0] == "/petshop"


def test_root_path_without_its_slash_leads_to_the_page() -> None:
    """Links of a page are below the last slash of its address."""
    answer = echo(site_at("127.0.0.1", "/pets")).get("/pets?lang=th")
    assert (answer.status_code, answer.headers["location"]) == (307, "/pets/?lang=th")


def test_app_behind_is_asked_without_the_origin_that_was_looked_at() -> None:
    """Streamlit would compare it with its own address, for which it asks an outside host."""
    client = echo(site_at("127.0.0.1", None))
    assert client.get("/", headers={"origin": "http://localhost:9"}).json()[2] is None


def test_foreign_page_gets_neither_an_answer_nor_a_websocket_and_the_owner_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = echo(site_at("127.0.0.1", None))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            answer = client.get("/", headers={"origin": "http://evil.example"})
            assert answer.status_code == 403
            assert "a page of http://evil.example" in answer.text
            with (
                pytest.raises(WebSocketDisconnect),
                client.websocket_connect("ws://127.0.0.1:8501/", headers={"origin": "http://evil.example"}),
            ):
                pass
    assert caplog.text.count("Refused a request") == 1


def test_own_page_gets_its_websocket_below_the_root_path() -> None:
    client = echo(site_at("127.0.0.1", "/pets"))
    with client.websocket_connect(
        "ws://127.0.0.1:8501/pets/stream", headers={"origin": "http://127.0.0.1:8501"}
    ) as opened:
        assert opened.receive_text() == "/stream"


def test_hosting_that_checks_itself_is_left_to_it() -> None:
    client = echo(Site("", is_checked=False))
    assert client.get("/", headers={"origin": "http://other.example"}).json()[2] == "http://other.example"
