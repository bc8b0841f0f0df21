"""Write docs/reference/http.md, the routes of `whatsit serve`, from its own OpenAPI: python docs/http_routes.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

from fastapi import FastAPI

from whatsit.apps.api.app import create_app
from whatsit.apps.api.settings import Settings

PAGE = Path(__file__).parent / "reference" / "http.md"
HEAD = """# HTTP

The routes of `whatsit serve MODEL`, made from its OpenAPI by `python docs/http_routes.py`; do not edit. A running service
describes itself at `/openapi.json`, and a person can try it at `/`. How to start one: [Ask it from a
program](../how-to/service.md).

Every error is `{"error": "what happened, in one line"}`. A method that a route has not gets 405, a head that is too large 431.
With `--api-key-file` every route wants a key, in `X-API-Key` or as `Authorization: Bearer`, but for `/`, `/livez`, `/readyz` and
`/v2/health`. No route fetches an address or writes a picture.
"""


def described() -> dict[str, Any]:
    """Return the OpenAPI of a service without models."""
    made: list[FastAPI] = []

    def make(**options: Any) -> FastAPI:
        made.append(FastAPI(**options))
        return made[-1]

    with mock.patch("whatsit.apps.api.app.FastAPI", make):
        create_app(mock.MagicMock(settings=Settings()))
    return made[0].openapi()


def page() -> str:
    """Return the page."""
    schema = described()
    parts = [HEAD, "\n## Status codes\n\n", _statuses(schema), "\n## Routes\n"]
    for path, methods in schema["paths"].items():
        if "/versions/" in path:
            continue  # the same with a version
        for method, route in methods.items():
            parts.append(_route(method, path, route))
    parts.append(
        "\nEvery route below `/v2/models/NAME` is also there below `/v2/models/NAME/versions/VERSION`.\n\n## Bodies\n"
    )
    for name, model in sorted(schema["components"]["schemas"].items()):
        if "properties" in model and not name.endswith("ValidationError"):
            parts.append(_body(name, model))
    return "".join(parts)


def _statuses(schema: dict[str, Any]) -> str:
    found: dict[str, str] = {}
    for methods in schema["paths"].values():
        for route in methods.values():
            for code, response in route["responses"].items():
                if code > "399" and response["description"] != "Validation Error":  # FastAPI's own word
                    found[code] = response["description"]
    rows = "".join(f"| {code} | {about} |\n" for code, about in sorted(found.items()))
    return f"| status | meaning |\n| --- | --- |\n| 200 | The response is there |\n{rows}"


def _route(method: str, path: str, route: dict[str, Any]) -> str:
    text = f"\n### `{method.upper()} {path}`\n\n{route.get('description', route['summary'])}\n"
    rows = [_parameter(one) for one in route.get("parameters", ())]
    if rows:
        text += "\n| parameter | where | type | default | meaning |\n| --- | --- | --- | --- | --- |\n" + "".join(rows)
    if body := route.get("requestBody"):
        kinds = list(body["content"])
        shown = ", ".join(f"`{kind}`" for kind in kinds if not kind.startswith("image/"))
        pictures = ", and the types of pictures" if any(kind.startswith("image/") for kind in kinds) else ""
        text += f"\nBody: {body.get('description', 'JSON.')} As {shown}{pictures}.\n"
    content = route["responses"].get("200", {}).get("content", {})
    answers = [
        f"{_type(one['schema'])} (`{kind}`)" if one.get("schema") else f"`{kind}`" for kind, one in content.items()
    ]
    if answers:
        text += f"\nResponse: {', '.join(answers)}.\n"
    codes = ", ".join(code for code in sorted(route["responses"]) if code > "399")
    return text + (f"\nErrors: {codes}.\n" if codes else "")


def _parameter(one: dict[str, Any]) -> str:
    schema = one["schema"]
    cells = (f"`{one['name']}`", one["in"], _type(schema), schema.get("default", ""), one.get("description", ""))
    return f"| {' | '.join(map(str, cells))} |\n"


def _body(name: str, model: dict[str, Any]) -> str:
    rows = []
    for key, one in model["properties"].items():
        example = one.get("examples", [None])[0]
        shown = "" if example is None else f"`{json.dumps(example, ensure_ascii=False)}`"
        rows.append(f"| `{key}` | {_type(one)} | {one.get('description', '')} | {shown} |\n")
    about = f"{model['description']}\n\n" if "description" in model else ""
    return f"\n### {name}\n\n{about}| field | type | meaning | example |\n| --- | --- | --- | --- |\n{''.join(rows)}"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    low, high = (
        schema.get("minimum", schema.get("exclusiveMinimum")),
        schema.get("maximum", schema.get("exclusiveMaximum")),
    )
    bounds = f", {low} to {high}" if low is not None and high is not None else ""
    return f"{schema.get('type', 'any')}{bounds}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
