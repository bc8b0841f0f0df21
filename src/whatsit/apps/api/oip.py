"""The tensors of the Open Inference Protocol v2: bytes in, bytes out.

With Triton's binary and classification extensions.

Inputs: `image` (BYTES `[N]`, the files of pictures; in JSON as base64) or `pixels` (UINT8 `[N, H, W, 3]`, RGB, at the model's
size). Outputs: `probabilities` (FP32 `[N, K]`), `label` (BYTES `[N]`), `unknown` (BOOL `[N]`) and, where the model has one,
`ood_score` (FP32 `[N]`).
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from whatsit.apps.api.base64_text import read_base64
from whatsit.apps.api.refusals import RefusedError, bad_request, too_large
from whatsit.apps.api.settings import Settings
from whatsit.engines import Images
from whatsit.runtime.predictor import Answer, Predictor

DATATYPES = {"image": "BYTES", "pixels": "UINT8"}
_NUMPY = {"FP32": np.dtype("<f4"), "BOOL": np.dtype("?")}


@dataclass(frozen=True)
class Output:
    """An output that a client asked for."""

    name: str
    binary: bool
    classes: int = 0  # of the classification extension: the number of classes as text; 0 for the tensor itself


@dataclass(frozen=True)
class InferRequest:
    """A request, checked: either files or pixels."""

    files: list[bytes]
    pixels: Images | None  # [N, H, W, 3]; None where there are files
    outputs: list[Output]
    id: str | None = None
    timeout: float | None = None  # seconds

    def __len__(self) -> int:
        """Return how many images it brings."""
        return len(self.files) if self.pixels is None else len(self.pixels)


def outputs_of(predictor: Predictor) -> dict[str, tuple[str, list[int]]]:
    """Return the name, datatype and shape of each output; -1 is the number of images."""
    outputs = {
        "probabilities": ("FP32", [-1, len(predictor.classes)]),
        "label": ("BYTES", [-1]),
        "unknown": ("BOOL", [-1]),
    }
    return {**outputs, "ood_score": ("FP32", [-1])} if predictor.bundle.unknown else outputs


def inputs_of(predictor: Predictor) -> dict[str, tuple[str, list[int]]]:
    """Return the name, datatype and shape of each input; a request has one of them."""
    return {"image": ("BYTES", [-1]), "pixels": ("UINT8", [-1, *predictor.size, 3])}


def parse_request(body: bytes, header_length: str | None, predictor: Predictor, settings: Settings) -> InferRequest:
    """Return a request of `infer`, checked.

    Args:
        body: the whole body.
        header_length: the header `Inference-Header-Content-Length`, where the request has one.
        predictor: the model that is asked.
        settings: the limits.

    Raises `RefusedError`: 400 for what is malformed, 413 for too much, 501 for what is not supported.
    """
    names = list(outputs_of(predictor))
    split = _header_length(header_length, len(body))
    if split == 0:  # the whole body is one picture
        return InferRequest([body], None, [Output(name, True) for name in names])
    document = read_object(body[:split], settings)
    parameters = _parameters(document, "the request")
    name, kind = _single_input(document)
    shape = _shape(kind, name, settings)
    if name == "pixels" and shape[1:] != [*predictor.size, 3]:
        raise bad_request(f"'pixels' has the shape {shape}; this model takes [N, {_join(predictor.size)}, 3]")
    if name == "image" and len(shape) != 1:
        raise bad_request(f"'image' has the shape {shape}; it is a list of files: [N]")
    data = _input_data(kind, name, memoryview(body)[split:], math.prod(shape))
    return InferRequest(
        files=data if isinstance(data, list) else [],
        pixels=None if isinstance(data, list) else data.reshape(shape),
        outputs=_outputs(document, names, bool(parameters.get("binary_data_output"))),
        id=_id(document),
        timeout=_timeout(parameters),
    )


def _header_length(text: str | None, size: int) -> int:
    if text is None:
        return size
    if not (text.isascii() and text.isdigit() and len(text) < 20) or int(text) > size:
        raise bad_request(f"Inference-Header-Content-Length is '{text[:40]}'; the body has {size:,} bytes")
    return int(text)


def read_object(data: bytes, settings: Settings) -> dict[str, Any]:
    """Return the object that JSON holds. Raises `RefusedError` (400, 413)."""
    most = settings.max_values
    if len(data) > settings.max_json:
        raise too_large(f"the JSON has more than {settings.max_json:,} bytes; send large tensors as binary data")
    # Counted before, as parsing holds the interpreter's lock to its end: some 2 seconds for 16 MB of empty lists.
    if len(data) > most and sum(map(data.count, (b",", b"[", b"{", b":"))) > most:
        raise too_large(f"the JSON has more than {most:,} values; send large tensors as binary data")
    collecting = gc.isenabled()
    gc.disable()  # it would look through the lists again and again while they grow, for twice as long as parsing takes
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the request is not valid JSON: {error}"[:300]) from None
    finally:
        if collecting:
            gc.enable()
    if not isinstance(document, dict):
        raise bad_request("the request must be a JSON object")
    return document


def _parameters(holder: dict[str, Any], of: str) -> dict[str, Any]:
    parameters = holder.get("parameters", {})
    if not isinstance(parameters, dict):
        raise bad_request(f"the 'parameters' of {of} must be an object")
    if any(key.startswith("shared_memory") for key in parameters):
        raise RefusedError(501, "shared memory is not supported; send the tensor in the request", "unsupported")
    return parameters


def _single_input(document: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs or not all(isinstance(one, dict) for one in inputs):
        raise bad_request("'inputs' must be a list with one tensor, 'image' or 'pixels'")
    names = [one.get("name") for one in inputs]
    for name in names:
        if name not in ("image", "pixels"):
            raise bad_request(f"the input {_shown(name)} is unknown; give 'image' or 'pixels'")
    if len(inputs) > 1:
        raise bad_request(f"{len(inputs)} inputs were given; give 'image' or 'pixels' once")
    [tensor] = inputs
    wanted = DATATYPES[names[0]]
    if tensor.get("datatype") != wanted:
        raise bad_request(f"'{names[0]}' has the datatype {_shown(tensor.get('datatype'))}; it is {wanted}")
    return names[0], tensor


def _shape(tensor: dict[str, Any], name: str, settings: Settings) -> list[int]:
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 8 or not all(type(side) is int for side in shape):
        raise bad_request(f"the shape of '{name}' must be a list of numbers")
    if min(shape) < 1 or max(shape) > 2**31:
        raise bad_request(f"the shape {_shown(shape)} of '{name}' is out of range")
    if shape[0] > settings.max_pictures:
        raise too_large(f"{shape[0]:,} pictures are too many; at most {settings.max_pictures} in one request")
    return shape


def _input_data(tensor: dict[str, Any], name: str, tail: memoryview, count: int) -> list[bytes] | Images:
    size = _parameters(tensor, f"'{name}'").get("binary_data_size")
    if size is None:
        if len(tail):
            raise bad_request(
                f"{len(tail):,} bytes follow the JSON, but 'binary_data_size' says of no tensor that they are its"
            )
        data = tensor.get("data")
        if not isinstance(data, list):
            raise bad_request(f"'{name}' has no 'data'")
        return _files_of_json(data, count) if name == "image" else _pixels_of_json(data, count)
    if "data" in tensor:
        raise bad_request(f"'{name}' has both 'data' and 'binary_data_size'")
    if type(size) is not int or size != len(tail):
        raise bad_request(f"'binary_data_size' of '{name}' is {_shown(size)}, but {len(tail):,} bytes follow the JSON")
    if name == "image":
        return _files_of_binary(tail, count)
    if size != count:
        raise bad_request(f"'pixels' has {size:,} bytes; its shape needs {count:,}")
    return np.frombuffer(tail, np.uint8)


def _files_of_binary(tail: memoryview, count: int) -> list[bytes]:
    files: list[bytes] = []
    place = 0
    while place < len(tail):
        if len(tail) - place < 4:
            raise bad_request("the binary data of 'image' end within a length")
        (size,) = struct.unpack_from("<I", tail, place)
        place += 4
        if size > len(tail) - place:
            raise bad_request(
                f"picture {len(files) + 1} of 'image' says it has {size:,} bytes; {len(tail) - place:,} are left"
            )
        files.append(bytes(tail[place : place + size]))
        place += size
        if len(files) > count:
            break
    if len(files) != count:
        raise bad_request(f"'image' has the shape [{count}], but the binary data hold another number of pictures")
    return files


def _files_of_json(data: list[Any], count: int) -> list[bytes]:
    if len(data) != count:
        raise bad_request(f"'image' has the shape [{count}], but its data hold {len(data):,} pictures")
    files = []
    for place, text in enumerate(data, 1):
        try:
            files.append(read_base64(text))
        except ValueError as error:
            raise bad_request(f"picture {place} of 'image' {error}") from None
    return files


def _pixels_of_json(data: list[Any], count: int) -> Images:
    flat = data
    while flat and isinstance(flat[0], list) and len(flat) <= count:  # nested as their shape is
        if set(map(type, flat)) != {list}:
            break
        flat = list(itertools.islice(itertools.chain.from_iterable(flat), count + 1))
    if len(flat) == count and set(map(type, flat)) == {int}:
        with contextlib.suppress(ValueError):  # of what is not from 0 to 255
            return np.frombuffer(bytes(flat), np.uint8)
    raise bad_request(f"the data of 'pixels' must be {count:,} whole numbers from 0 to 255")


def _outputs(document: dict[str, Any], names: list[str], binary: bool) -> list[Output]:
    wanted = document.get("outputs")
    if wanted is None or wanted == []:
        return [Output(name, binary) for name in names]
    if not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
        raise bad_request("'outputs' must be a list of objects with a 'name'")
    found: list[Output] = []
    for one in wanted:
        name = one.get("name")
        if name not in names:
            raise bad_request(f"the output {_shown(name)} is unknown; allowed: {', '.join(names)}")
        if any(output.name == name for output in found):
            raise bad_request(f"the output '{name}' is asked for twice")
        parameters = _parameters(one, f"'{name}'")
        classes = parameters.get("classification", 0)
        if type(classes) is not int or classes < 0 or (classes and name != "probabilities"):
            raise bad_request(
                f"'classification' of '{name}' is {_shown(classes)}; it is a number, and of 'probabilities' only"
            )
        found.append(Output(name, bool(parameters.get("binary_data", binary)), classes))
    return found


def _id(document: dict[str, Any]) -> str | None:
    found = document.get("id")
    if found is None or (isinstance(found, str) and len(found) <= 1000):
        return found
    raise bad_request("the 'id' must be a text of at most 1,000 characters")


def _timeout(parameters: dict[str, Any]) -> float | None:
    """Return the timeout in seconds; Triton counts it in microseconds, and 0 is none."""
    timeout = parameters.get("timeout")
    if timeout is None:
        return None
    if type(timeout) is not int or timeout < 0:
        raise bad_request(f"'timeout' is {_shown(timeout)}; it is a number of microseconds")
    return timeout / 1e6 or None


def _shown(value: object) -> str:
    return repr(value)[:80]


def _join(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


@dataclass
class _Parts:
    described: list[dict[str, Any]] = field(default_factory=list)
    binary: list[bytes] = field(default_factory=list)

    def add(
        self, output: Output, datatype: str, shape: Sequence[int], packed: Callable[[], bytes], plain: Callable[[], Any]
    ) -> None:
        described: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": list(shape)}
        if output.binary:
            data = packed()
            described["parameters"] = {"binary_data_size": len(data)}
            self.binary.append(data)
        else:
            described["data"] = plain()
        self.described.append(described)


def build_response(
    request: InferRequest, answers: Sequence[Answer], predictor: Predictor, model: str, version: str
) -> tuple[bytes, int | None]:
    """Return the body, and the length of its JSON where binary data follow it."""
    probabilities = np.stack([answer.probabilities for answer in answers])
    parts = _Parts()
    for output in request.outputs:
        if output.classes:
            texts = [_classification(row, output.classes, predictor.classes) for row in probabilities]
            _add_texts(parts, output, [len(texts), len(texts[0])], [text for row in texts for text in row])
        elif output.name == "label":
            _add_texts(
                parts,
                output,
                [len(answers)],
                [predictor.classes[int(place)] for place in predictor.decide(probabilities)],
            )
        else:
            values: npt.NDArray[Any] = probabilities
            if output.name == "unknown":
                values = np.array([predictor.is_unknown(answer) for answer in answers])
            elif output.name == "ood_score":
                values = np.array([answer.ood_score for answer in answers])
            datatype, _ = outputs_of(predictor)[output.name]
            values = np.ascontiguousarray(values, _NUMPY[datatype])
            parts.add(output, datatype, values.shape, values.tobytes, values.ravel().tolist)
    document: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": parts.described}
    if request.id is not None:
        document["id"] = request.id
    head = orjson.dumps(document)
    if not parts.binary:
        return head, None
    return b"".join([head, *parts.binary]), len(head)


def _add_texts(parts: _Parts, output: Output, shape: list[int], texts: list[str]) -> None:
    encoded = [text.encode() for text in texts]
    parts.add(
        output, "BYTES", shape, lambda: b"".join(struct.pack("<I", len(one)) + one for one in encoded), lambda: texts
    )


def _classification(row: npt.NDArray[np.float32], count: int, classes: Sequence[str]) -> list[str]:
    order = np.argsort(-row, kind="stable")[:count]
    return [f"{float(row[place]):f}:{place}:{classes[place]}" for place in order]
