"""Base64 as JavaScript, Java, Python and mail programs write it."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apps.api.conftest import Running
from whatsit.apps.api.base64_text import read_base64

WAYS = {
    "plain": lambda data: base64.b64encode(data).decode(),
    "lines of 76": lambda data: base64.encodebytes(data).decode(),
    "lines of 76, as Windows": lambda data: base64.encodebytes(data).decode().replace("\n", "\r\n"),
    "lines that are indented": lambda data: base64.encodebytes(data).decode().replace("\n", "\n    "),
    "data URL": lambda data: "data:image/png;base64," + base64.b64encode(data).decode(),
    "data URL without a type": lambda data: "data:;base64," + base64.b64encode(data).decode(),
    "data URL with parameters": lambda data: "DATA:image/PNG;name=a.png;BASE64," + base64.b64encode(data).decode(),
    "data URL with escapes": lambda data: (
        "data:image/png;base64," + base64.b64encode(data).decode().replace("+", "%2B").replace("=", "%3D")
    ),
    "data URL, lines, URL-safe, no padding": lambda data: (
        "data:image/png;base64,\n" + base64.encodebytes(data).decode().translate(str.maketrans("+/", "-_", "="))
    ),
    "URL-safe": lambda data: base64.urlsafe_b64encode(data).decode(),
    "URL-safe without padding": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "without padding": lambda data: base64.b64encode(data).decode().rstrip("="),
    "blanks around": lambda data: f"  {base64.b64encode(data).decode()}\t\n",
}


@pytest.mark.parametrize("way", WAYS)
@given(data=st.binary(max_size=200))
@settings(max_examples=50, derandomize=True, database=None)
def test_every_way_of_writing_gives_the_same_bytes(way: str, data: bytes) -> None:
    assert read_base64(WAYS[way](data)) == data


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "^is null, not a text in base64$"),
        (7, "^is a number, "),
        (True, "^is true or false, "),
        ({"b64": "AAAA"}, "^is an object, "),
        (["AAAA"], "^is a list, "),
        ("AAAAA", "has 5 letters, one too few or too many"),
        ("AAAA$AAA", r"'\$' stands at place 5"),
        ("AAAAéAAA", "'é' stands at place 5"),
        ("AAAA AAA", "a blank within its base64, at place 5; a '\\+' that was sent in a form becomes one"),
        ("AA==AAAA", "'=' stands at place 3, before its end"),
        ("b'AAAA'", r"begins with b', as Python shows bytes"),
        ("data:image/png,%89PNG", "a data URL whose data are not in base64: 'data:image/png'"),
        ("data:image/png;base64", "a data URL without a comma"),
        ("data:image/png;base64,AAAA$", r"'\$' stands at place 5"),
        ("https://example.com/cat.jpg", "is the address 'https://example.com/cat.jpg'; addresses are not fetched"),
    ],
)
def test_error_names_what_is_wrong(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_base64(value)


@given(text=st.one_of(st.text(max_size=60), st.from_regex(r"(data:|b'|http://)(?s:.){0,60}", fullmatch=True)))
@settings(max_examples=300, derandomize=True, database=None)
def test_any_text_gives_bytes_or_an_error_in_one_line(text: str) -> None:
    words = ""
    try:
        read_base64(text)
    except ValueError as error:
        words = str(error)
    assert words.isprintable()


def infer(api: Running, *pictures: object) -> tuple[int, dict]:
    inputs = [{"name": "image", "datatype": "BYTES", "shape": [len(pictures)], "data": pictures}]
    found = api.ask("POST", "/v2/models/baseline/infer", json.dumps({"inputs": inputs}).encode())
    return found.status, found.json


def test_service_answers_for_every_way_of_writing(api: Running, disc: bytes) -> None:
    status, found = infer(api, *(way(disc) for way in WAYS.values()))
    assert status == 200
    assert found["outputs"][1]["data"] == ["disc"] * len(WAYS)


def test_service_names_the_picture_and_what_is_wrong_with_it(api: Running, disc: bytes) -> None:
    status, found = infer(api, WAYS["plain"](disc), "AAAA$AAA")
    assert (status, found["error"]) == (400, "picture 2 of 'image' is no base64: '$' stands at place 5")
