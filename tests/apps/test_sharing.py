"""The web page of a model, as the apps give it away."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from whatsit.apps.own_command import CommandError
from whatsit.apps.sharing import website_zip
from whatsit.bundle.web_runtime import RuntimeMissingError, web_runtime


def test_the_zip_holds_the_page(baseline_run) -> None:
    try:
        web_runtime()
    except RuntimeMissingError as error:
        pytest.skip(f"the runtime of exported pages is not here: {error}")
    with zipfile.ZipFile(io.BytesIO(website_zip(baseline_run.model))) as archive:
        assert {"index.html", "model.onnx", "runtime/ort-wasm.bin", "README.txt", "examples/plain.html"} <= {
            *archive.namelist()
        }


def test_what_went_wrong_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.whatsit").write_bytes(b"nothing")
    with pytest.raises(CommandError, match=r"broken\.whatsit") as raised:
        website_zip(tmp_path / "broken.whatsit")
    assert "\n" not in str(raised.value)
