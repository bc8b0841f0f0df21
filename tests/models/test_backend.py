from __future__ import annotations

import sys

import pytest

from whatsit.models.backend import layer_policy


def test_without_openvino_networks_are_trained_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "whatsit.engines.openvino", raising=False)
    assert layer_policy() == "float32"
