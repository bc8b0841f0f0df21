from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from whatsit.engines import EngineError, available, open_engine, training_precision
from whatsit.errors import WhatsitError


def sums_graph() -> bytes:
    """`image` uint8 [N, 2, 2, 3] -> `sum` [N] and `twice` [N, 2, 2, 3], as floats."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["pixels", "axes"], ["sum"], keepdims=0),
        helper.make_node("Add", ["pixels", "pixels"], ["twice"]),
    ]
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 2, 2, 3])],
        [
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("twice", TensorProto.FLOAT, ["N", 2, 2, 3]),
        ],
        [helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def batch(value: int, count: int = 3) -> np.ndarray:
    return np.full((count, 2, 2, 3), value, np.uint8)


@pytest.fixture(params=[1, 40], ids=["few", "many"])
def count(request: pytest.FixtureRequest) -> int:
    """Images of a batch; of 40 every core works on a batch of its own."""
    return int(request.param)


@pytest.fixture(params=available())
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_run_gives_the_named_outputs_in_order(runtime: str) -> None:
    engine = open_engine(sums_graph(), ["twice", "sum"], runtime=runtime)
    twice, total = engine.run(batch(5))
    assert twice.shape == (3, 2, 2, 3)
    assert total.tolist() == [60.0] * 3


def test_only_what_is_asked_for_is_given(runtime: str) -> None:
    [total] = open_engine(sums_graph(), ["sum"], runtime=runtime).run(batch(1, 1))
    assert total.tolist() == [12.0]


def test_any_batch_size_one_after_another(runtime: str) -> None:
    engine = open_engine(sums_graph(), ["sum"], runtime=runtime)
    for count in (1, 7, 2):
        assert engine.run(batch(2, count))[0].tolist() == [24.0] * count


def test_stream_keeps_the_order(runtime: str) -> None:
    engine = open_engine(sums_graph(), ["sum"], runtime=runtime)
    totals = [outputs[0][0] for outputs in engine.stream(batch(i % 256) for i in range(300))]
    assert totals == [12.0 * (i % 256) for i in range(300)]


def test_stream_of_nothing(runtime: str) -> None:
    assert list(open_engine(sums_graph(), ["sum"], runtime=runtime).stream([])) == []


def test_results_are_not_written_over_by_the_next_run(runtime: str, count: int) -> None:
    engine = open_engine(sums_graph(), ["sum"], runtime=runtime)
    first = engine.run(batch(1))[0]
    engine.run(batch(9))
    streamed = list(engine.stream([batch(number, count) for number in range(1, 7)]))
    assert first.tolist() == [12.0] * 3
    assert [outputs[0][0] for outputs in streamed] == [12.0 * i for i in range(1, 7)]


def test_input_is_left_as_it_was(runtime: str) -> None:
    images = batch(7)
    open_engine(sums_graph(), ["twice", "sum"], runtime=runtime).run(images)
    assert np.array_equal(images, batch(7))


def test_input_may_be_read_only(runtime: str, count: int) -> None:
    engine = open_engine(sums_graph(), ["sum"], runtime=runtime)
    images = np.frombuffer(bytes([2]) * 12 * count, np.uint8).reshape(count, 2, 2, 3)
    assert engine.run(images)[0].tolist() == [24.0] * count
    assert [outputs[0].tolist() for outputs in engine.stream([images] * 2)] == [[24.0] * count] * 2


def test_threads_share_an_engine(runtime: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    engine = open_engine(sums_graph(), ["sum"], runtime=runtime)
    with ThreadPoolExecutor(8) as pool:
        totals = list(pool.map(lambda i: engine.run(batch(i))[0][0], range(200)))
    assert totals == [12.0 * i for i in range(200)]


def test_damaged_graph_is_refused_in_one_line(runtime: str) -> None:
    with pytest.raises(EngineError, match="refuses the graph") as caught:
        open_engine(b"no graph at all", ["sum"], runtime=runtime)
    assert "\n" not in str(caught.value)


def test_unknown_output_is_refused(runtime: str) -> None:
    with pytest.raises(EngineError):
        open_engine(sums_graph(), ["product"], runtime=runtime)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "tensorrt"}, "unknown runtime 'tensorrt'; allowed: auto, openvino, onnxruntime"),
        ({"precision": "int4"}, "unknown precision 'int4'; allowed: float32, bfloat16"),
        ({"runtime": "onnxruntime", "precision": "bfloat16"}, "float32 only"),
    ],
)
def test_wrong_options_say_what_is_allowed(options: dict[str, str], message: str) -> None:
    with pytest.raises(WhatsitError, match=message):
        open_engine(sums_graph(), ["sum"], **options)


def test_training_precision_is_one_that_the_runtime_takes(runtime: str) -> None:
    precision = training_precision(runtime)
    assert open_engine(sums_graph(), ["sum"], runtime=runtime, precision=precision).run(batch(1))[0].shape == (3,)


@pytest.mark.parametrize("limit", ["SSE41", "AVX2", "AVX512_CORE"])
def test_openvino_computes_where_onednn_is_limited(tmp_path: Path, limit: str) -> None:
    """OpenVINO alone ends with a segmentation fault: its own kernels are limited by another variable."""
    pytest.importorskip("openvino")
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["map"]),
    ]
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 32, 32, 3])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, ["N", 16, 30, 30])],
        [helper.make_tensor("kernel", TensorProto.FLOAT, [16, 3, 3, 3], np.ones(16 * 27, np.float32))],
    )
    path = tmp_path / "convolution.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    )
    code = (
        "import sys, numpy as np; from pathlib import Path; from whatsit.engines import open_engine, training_precision\n"
        "best = {'runtime': 'openvino', 'precision': training_precision('openvino')}\n"
        "engine = open_engine(Path(sys.argv[1]).read_bytes(), ['map'], **best)\n"
        "print(engine.run(np.ones((8, 32, 32, 3), np.uint8))[0].mean())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OV_CPU_MAX_ISA"}
    environment["ONEDNN_MAX_CPU_ISA"] = limit
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "27.0", "")


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_runtime_tells_nobody_and_leaves_nothing_in_the_home(tmp_path: Path, runtime: str) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    for name in ("CI", "TF_BUILD", "JENKINS_URL"):  # where it keeps quiet by itself
        environment.pop(name, None)
    subprocess.run([sys.executable, "-c", f"import whatsit.engines.{runtime}"], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def test_pictures_on_which_a_graph_fails_raise_one_error_of_ours(
    runtime: str, count: int, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = open_engine(sums_graph(), ["sum"], runtime=runtime)
    wrong = np.zeros((1, 3, 3, 3), np.uint8)
    with pytest.raises(EngineError, match="cannot run the graph") as caught:
        engine.run(wrong)
    assert "\n" not in str(caught.value)
    stream = engine.stream([batch(1, count), wrong, batch(2, count)])
    with pytest.raises(EngineError, match="cannot run the graph"):
        list(stream)
    [total] = engine.run(batch(3, 1))  # and it goes on
    assert total.tolist() == batch(3, 1).sum(axis=(1, 2, 3)).tolist()
    assert capfd.readouterr() == ("", "")
