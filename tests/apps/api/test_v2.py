"""The Open Inference Protocol, as its users' own client speaks it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.apps.api.conftest import Running, running
from tests.conftest import encode, shapes
from tests.coroutines import run_apart
from whatsit.images.decode import decode
from whatsit.run.record import Run
from whatsit.runtime.predictor import Predictor

FILES = [encode(shapes(kind, 7)) for kind in ("disc", "rows", "columns")]


@pytest.fixture
def client(api: Running) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{api.port}") as client:
        yield client


@pytest.fixture(scope="module")
def predictor(baseline_run: Run) -> Predictor:
    return baseline_run.load()


def images(files: list[bytes]) -> triton.InferInput:
    tensor = triton.InferInput("image", [len(files)], "BYTES")
    tensor.set_data_from_numpy(np.array(files, object))
    return tensor


def pixels(predictor: Predictor, binary: bool = True) -> triton.InferInput:
    data = np.stack([decode(file, predictor.size) for file in FILES])
    tensor = triton.InferInput("pixels", list(data.shape), "UINT8")
    tensor.set_data_from_numpy(data, binary_data=binary)
    return tensor


def wanted(predictor: Predictor) -> np.ndarray:
    return np.stack([predictor.answer(decode(file, predictor.size)[None])[0].probabilities for file in FILES])


def test_server_and_model_are_live_and_ready(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("baseline")
    assert client.is_model_ready("baseline", "1")
    assert not client.is_model_ready("none")


def test_health_has_the_body_that_kserves_own_client_reads(api: Running) -> None:
    # `kserve.InferenceRESTClient` takes `live` and `ready` out of the body; of an empty one it raises a JSONDecodeError.
    assert api.ask("GET", "/v2/health/live").json["live"] is True
    assert api.ask("GET", "/v2/health/ready").json["ready"] is True
    assert api.ask("GET", "/v2/models/baseline/ready").json == {"name": "baseline", "ready": True}


def test_metadata_and_configuration(client: triton.InferenceServerClient, predictor: Predictor) -> None:
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("baseline")
    assert [(one["name"], one["datatype"]) for one in metadata["inputs"]] == [("image", "BYTES"), ("pixels", "UINT8")]
    assert metadata["inputs"][1]["shape"] == [-1, *predictor.size, 3]
    assert client.get_model_config("baseline", "1")["max_batch_size"] == 256


@pytest.mark.parametrize("packing", [None, "gzip", "deflate"])
def test_files_are_answered(client: triton.InferenceServerClient, predictor: Predictor, packing: str | None) -> None:
    found = client.infer("baseline", [images(FILES)], request_id="seven", response_compression_algorithm=packing)
    np.testing.assert_allclose(found.as_numpy("probabilities"), wanted(predictor), atol=1e-5)
    labels = [predictor.classes[place] for place in wanted(predictor).argmax(axis=1)]
    assert [label.decode() for label in found.as_numpy("label")] == labels
    assert found.as_numpy("unknown").dtype == bool
    assert found.get_response()["id"] == "seven"


@pytest.mark.parametrize("binary", [True, False])
def test_pixels_are_answered(client: triton.InferenceServerClient, predictor: Predictor, binary: bool) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary)]
    found = client.infer("baseline", [pixels(predictor, binary)], outputs=outputs, model_version="1")
    np.testing.assert_allclose(found.as_numpy("probabilities"), wanted(predictor), atol=1e-5)


def test_long_answer_is_packed(client: triton.InferenceServerClient, predictor: Predictor) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=False)]
    tensor = images(FILES * 30)
    found = client.infer("baseline", [tensor], outputs=outputs, response_compression_algorithm="gzip")
    np.testing.assert_allclose(found.as_numpy("probabilities"), np.tile(wanted(predictor), (30, 1)), atol=1e-5)


@pytest.mark.parametrize("binary", [True, False])
def test_classification(client: triton.InferenceServerClient, predictor: Predictor, binary: bool) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)]
    found = client.infer("baseline", [images(FILES)], outputs=outputs).as_numpy("probabilities")
    assert found.shape == (3, 2)
    texts = [text.decode() if isinstance(text, bytes) else text for text in found[:, 0]]
    assert [text.split(":")[2] for text in texts] == [predictor.classes[i] for i in wanted(predictor).argmax(axis=1)]


def test_asynchronous_requests(client: triton.InferenceServerClient, predictor: Predictor) -> None:
    requests = [client.async_infer("baseline", [images(FILES)]) for _ in range(3)]
    for request in requests:
        np.testing.assert_allclose(request.get_result().as_numpy("probabilities"), wanted(predictor), atol=1e-5)


def test_asyncio_client(api: Running, predictor: Predictor) -> None:
    async def ask() -> np.ndarray:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{api.port}") as client:
            assert await client.is_server_ready()
            return (await client.infer("baseline", [images(FILES)])).as_numpy("probabilities")

    np.testing.assert_allclose(run_apart(ask()), wanted(predictor), atol=1e-5)


def test_whole_body_is_a_picture(api: Running, predictor: Predictor) -> None:
    found = api.ask("POST", "/v2/models/baseline/infer", FILES[0], {"Inference-Header-Content-Length": "0"})
    length = int(found.headers["inference-header-content-length"])
    np.testing.assert_allclose(np.frombuffer(found.data[length : length + 12], "<f4"), wanted(predictor)[0], atol=1e-5)


def test_errors_reach_the_client(client: triton.InferenceServerClient) -> None:
    for action, words in (
        (lambda: client.infer("none", [images(FILES)]), "there is no model 'none'"),
        (lambda: client.infer("baseline", [images([FILES[0], b"words"])]), "picture 2: the file holds text"),
        (lambda: client.get_system_shared_memory_status(), "no shared memory"),
        (lambda: client.unload_model("baseline"), "only where the service was started with --admin-token-file"),
    ):
        with pytest.raises(InferenceServerException, match=words):
            action()


def test_repository_and_statistics(client: triton.InferenceServerClient) -> None:
    client.infer("baseline", [images(FILES)])
    index = client.get_model_repository_index()
    assert [(one["name"], one["state"]) for one in index] == [("baseline", "READY"), ("hostile", "READY")]
    [found] = client.get_inference_statistics("baseline")["model_stats"]
    assert found["inference_count"] >= 3
    assert found["inference_stats"]["success"]["count"] >= 1
    assert len(client.get_inference_statistics()["model_stats"]) == 2


def test_token_loads_and_unloads(baseline_run: Run, tmp_path: Path) -> None:
    token = {"X-Admin-Token": "a-token-of-16-or-more"}
    path = Path(shutil.copy(baseline_run.model, tmp_path / "m.whatsit"))
    with running([path], admin_token=token["X-Admin-Token"]) as service:
        client = triton.InferenceServerClient(f"127.0.0.1:{service.port}")
        for headers in ({}, {"X-Admin-Token": "another"}):
            with pytest.raises(InferenceServerException, match="the token is needed"):
                client.unload_model("m", headers=headers)
        client.unload_model("m", headers=token)
        assert not client.is_model_ready("m")
        assert not client.is_server_ready()
        client.load_model("m", headers=token)
        assert client.is_model_ready("m")
        path.write_bytes(b"broken")
        with pytest.raises(InferenceServerException, match="cannot be loaded"):
            client.load_model("m", headers=token)
        client.infer("m", [images(FILES)])
        client.close()
