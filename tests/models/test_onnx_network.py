"""Networks from ONNX files: what they compute, and which files are refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests import onnx_networks as made
from whatsit.engines import available, open_engine
from whatsit.engines.onnxruntime import evaluate
from whatsit.errors import ModelError
from whatsit.models.onnx_network import OnnxNetwork, open_networks

PIXELS = np.random.default_rng(0).integers(0, 256, (5, made.SIDE, made.SIDE, 3), dtype=np.uint8)
MEAN, STD = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))


def opened(path: Path, **more: int) -> OnnxNetwork:
    [network] = open_networks(path, more.get("size", made.SIDE), more.get("upscale", 1), ("last", "all")).values()
    return network


def by_itself(path: Path, pixels: np.ndarray, output: str, *, last: bool = False) -> np.ndarray:
    """What the file gives for pictures one by one, scaled as ImageNet's or not at all."""
    scaled = pixels.astype(np.float64) if last else ((pixels / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    one_by_one = [evaluate(path.read_bytes(), {"pixels": one[None].astype(np.float32)}, [output])[0] for one in scaled]
    return np.concatenate(one_by_one)


def alike(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.shape == wanted.shape and np.abs(found - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("runtime", available())
@pytest.mark.parametrize("batch", ["N", 1])
def test_map_is_pooled(tmp_path: Path, batch: int | str, runtime: str) -> None:
    network = opened(made.convolutional(tmp_path / "x.onnx", batch=batch))
    [found] = open_engine(network.features_graph(), ["embedding"], runtime=runtime).run(PIXELS)
    assert alike(found, by_itself(tmp_path / "x.onnx", PIXELS, "map").mean(axis=(2, 3)))
    assert network.map is not None


@pytest.mark.parametrize("runtime", available())
@pytest.mark.parametrize("dynamic", [False, True])
def test_transformer_gives_its_class_token_and_the_mean_of_the_others(
    tmp_path: Path, dynamic: bool, runtime: str
) -> None:
    network = opened(made.transformer(tmp_path / "x.onnx", dynamic=dynamic))
    tokens = by_itself(tmp_path / "x.onnx", PIXELS, "last_hidden_state")
    [found] = open_engine(network.features_graph(), ["embedding"], runtime=runtime).run(PIXELS)
    assert alike(found, np.concatenate([tokens[:, 0], tokens[:, 1:].mean(axis=1)], axis=1))
    assert network.map is None


def test_nothing_that_makes_arrays_of_any_size_is_left(tmp_path: Path) -> None:
    graph = onnx.load_from_string(opened(made.transformer(tmp_path / "x.onnx", dynamic=True)).features_graph()).graph
    assert not {"Shape", "Expand"} & {node.op_type for node in graph.node}


def test_channels_last_with_its_own_scaling(tmp_path: Path) -> None:
    network = opened(made.channels_last(tmp_path / "x.onnx"))
    assert alike(network.embed(PIXELS), by_itself(tmp_path / "x.onnx", PIXELS, "pooled", last=True))
    assert network.map is not None
    assert network.file.note == ""


@pytest.mark.parametrize("opset", [13, 18])
def test_pooled_output_is_taken_as_it_is(tmp_path: Path, opset: int) -> None:
    network = opened(made.projected(tmp_path / "x.onnx", opset=opset))
    assert alike(network.embed(PIXELS), by_itself(tmp_path / "x.onnx", PIXELS, "embedding"))
    assert network.map is None
    assert "nothing says how its pixels are scaled" in network.summary


def test_of_a_classifier_of_imagenet_what_its_last_layer_sees(tmp_path: Path) -> None:
    network = opened(made.classifier(tmp_path / "x.onnx", 1000))
    assert network.width == made.CHANNELS
    assert network.map is not None


def test_smaller_pictures_are_enlarged_inside_the_graph(tmp_path: Path) -> None:
    network = opened(made.convolutional(tmp_path / "x.onnx"), upscale=2)
    assert network.size == (16, 16)
    flat = np.full((1, 16, 16, 3), 90, np.uint8)
    assert alike(network.embed(flat), opened(tmp_path / "x.onnx").embed(flat.repeat(2, 1).repeat(2, 2)))


BESIDE = {
    "x.toml": "mean = [0.1, 0.2, 0.3]\nstd = 0.5\n".replace("std = 0.5", "std = [0.5, 0.4, 0.3]"),
    "preprocessor_config.json": '{"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.4, 0.3], "size": {"height": 32}}',
    "config.json": '{"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.4, 0.3], "input_size": [3, 32, 32]}}',
}


@pytest.mark.parametrize("name", BESIDE)
def test_scaling_is_read_from_what_lies_beside(tmp_path: Path, name: str) -> None:
    path = made.projected(tmp_path / "x.onnx")
    (tmp_path / name).write_text(BESIDE[name])
    scale, offset = opened(path).file.scaling
    found = PIXELS[0, 0, 0] * scale + offset
    assert found == pytest.approx((PIXELS[0, 0, 0] / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.4, 0.3], abs=1e-5)


def test_toml_says_output_and_pooling(tmp_path: Path) -> None:
    path = made.transformer(tmp_path / "x.onnx")
    (tmp_path / "x.toml").write_text('output = "last_hidden_state"\npool = "class"\nscaling = "-1..1"\n')
    assert opened(path).width == made.CHANNELS
    (tmp_path / "x.toml").write_text('output = ["last_hidden_state", "pooler_output"]\npool = "mean"\n')
    networks = open_networks(path, made.SIDE, 1, ("last", "all"))
    assert {name: network.width for name, network in networks.items()} == {"last": 24, "all": 48}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sise = 3", "unknown key 'sise'; did you mean 'size'?"),
        ('scaling = "imagnet"', "unknown scaling 'imagnet'; did you mean 'imagenet'?"),
        ("std = 0.0\nmean = 0.0", "'std' must be above 0"),
        ("mean = [1, 2]\nstd = 1", "'mean' must be one number or three"),
        ("size = 64", "it takes pictures of 32 x 32 pixels only, where a size of 64 is said"),
        ('output = "nothing"', "it has no value 'nothing' that depends on the picture; its outputs: embedding"),
        ("= 3", "this file cannot be read"),
    ],
)
def test_wrong_words_beside_it_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = made.projected(tmp_path / "x.onnx")
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ModelError, match=message.replace("?", r"\?")):
        opened(path, size=64 if "size" in text else made.SIDE)


def with_external_data(path: Path) -> None:
    model = onnx.load(made.projected(path))
    onnx.save_model(model, path, save_as_external_data=True, location="x.data", size_threshold=0)


def with_a_loop(path: Path) -> None:
    make = made.Builder()
    body = helper.make_graph([], "body", [], [])
    make.op("Loop", "pixels", out="end", body=body)
    make.save(path, ("N", 3, 32, 32), ["end"], known=False)


def of_another_domain(path: Path) -> None:
    make = made.Builder()
    make.op("FusedConv", "pixels", out="end", domain="com.microsoft")
    make.save(path, ("N", 3, 32, 32), ["end"], known=False)


def too_large_inside(path: Path) -> None:
    make = made.Builder()
    shape = make.whole(1 << 20, 1 << 20)
    make.op("Expand", make.constant([[1.0]]), shape, out="end")
    make.save(path, ("N", 3, 32, 32), ["end"])


def of_two_inputs(path: Path) -> None:
    model = onnx.load(made.projected(path))
    model.graph.input.append(helper.make_tensor_value_info("text", TensorProto.INT64, ["N", 77]))
    onnx.save(model, path)


def of_whole_numbers(path: Path) -> None:
    make = made.Builder()
    make.op("Cast", "pixels", to=TensorProto.FLOAT, out="end")
    make.save(path, ("N", 3, 32, 32), ["end"], dtype=TensorProto.INT64)


def of_a_batch_of_four(path: Path) -> None:
    make = made.Builder()
    make.op("Identity", make.convolutions("pixels"), out="end")
    make.save(path, (4, 3, 32, 32), ["end"])


def that_mixes_pictures(path: Path) -> None:
    make = made.Builder()
    found = make.convolutions("pixels")
    make.op("Sub", found, make.op("ReduceMean", found, make.whole(0), keepdims=1), out="end")
    make.save(path, ("N", 3, 32, 32), ["end"])


REFUSED: dict[str, Callable[[Path], object]] = {
    "wants to read data from other files .external data.; put all into one file: python -c": with_external_data,
    "uses the operator 'Loop'": with_a_loop,
    "uses the operator 'FusedConv'": of_another_domain,
    "at most 268,435,456 numbers are computed": too_large_inside,
    "it has 2 inputs .pixels, text.": of_two_inputs,
    "of the type INT64; export it with float32": of_whole_numbers,
    "not a batch of pictures": of_a_batch_of_four,
    "of several pictures differs": that_mixes_pictures,
    "damaged": lambda path: path.write_bytes(b"\x08\x07 not a network"),
    "there is no such ONNX file": lambda path: None,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_trusted_is_refused_in_one_line(tmp_path: Path, reason: str) -> None:
    REFUSED[reason](tmp_path / "x.onnx")
    with pytest.raises(ModelError, match=reason) as raised:
        opened(tmp_path / "x.onnx")
    assert "\n" not in str(raised.value)


def test_many_arrays_that_are_each_within_bounds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = made.Builder()
    found = make.op("Identity", "pixels")
    for _ in range(20):
        grown = make.op("Expand", make.constant([[[[1.0]]]]), make.whole(1, 3, made.SIDE, made.SIDE))
        found = make.op("Add", found, grown)
    make.op("Identity", found, out="end")
    make.save(tmp_path / "x.onnx", ("N", 3, made.SIDE, made.SIDE), ["end"])
    monkeypatch.setattr("whatsit.graph.fold.MAX_VALUES", 10 * 3 * made.SIDE**2)
    with pytest.raises(ModelError, match="its constants take more than"):
        opened(tmp_path / "x.onnx")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_is_no_network(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.onnx")
    with pytest.raises(ModelError, match="this is not a file"):
        opened(tmp_path / "x.onnx")


def test_too_many_bytes_are_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "x.onnx").open("wb") as file:
        file.truncate(1 << 31)
    with pytest.raises(ModelError, match="too many for a network"):
        opened(tmp_path / "x.onnx")
