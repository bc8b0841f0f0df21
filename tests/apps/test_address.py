from __future__ import annotations

import pytest

from whatsit.apps.address import bare_host, is_any, is_private, numeric, url


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("[::]", "http://[::1]:80"),
        ("0:0:0:0:0:0:0:0", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("[::1]", "http://[::1]:80"),
        ("2001:DB8::7", "http://[2001:db8::7]:80"),
        ("::ffff:127.0.0.1", "http://127.0.0.1:80"),
        ("192.168.1.5", "http://192.168.1.5:80"),
        ("localhost", "http://localhost:80"),
        ("my-laptop.local", "http://my-laptop.local:80"),
    ],
)
def test_url_is_one_that_answers_here(host: str, told: str) -> None:
    assert url(host, 80) == told


def test_url_has_the_path_below_which_it_is_served() -> None:
    assert url("::1", 443, "/pets", "https") == "https://[::1]:443/pets"


def test_interface_of_a_link_local_address_is_escaped() -> None:
    assert url("fe80::1%lo", 80) == "http://[fe80::1%25lo]:80"


@pytest.mark.parametrize("host", ["0.0.0.0", "0", "::", "[::]", "::ffff:0.0.0.0"])
def test_hosts_that_mean_every_address(host: str) -> None:
    assert is_any(host)
    assert not is_private(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "127.9.9.9", "::1", "[::1]", "localhost", "LocalHost."])
def test_hosts_that_only_this_computer_reaches(host: str) -> None:
    assert is_private(host)
    assert not is_any(host)


@pytest.mark.parametrize("host", ["192.168.1.5", "2001:db8::7", "example", "", "localhost.example"])
def test_hosts_that_others_may_reach(host: str) -> None:
    assert not is_private(host)
    assert not is_any(host)


@pytest.mark.parametrize("host", ["", " ", "example", "[", "[]", "::g", "1.2.3.4.5", "1 x", "\u0661", "a\0b"])
def test_what_is_no_number_is_a_name(host: str) -> None:
    assert numeric(host) is None


def test_brackets_are_for_urls_only() -> None:
    assert [bare_host(host) for host in ("[::1]", "::1", "name", "[")] == ["::1", "::1", "name", "["]
