"""`whatsit serve` beside the direct runtime: latency, rate, overload, reloads.

The load comes from another process.

C is how many pictures a second the same bundle answers directly, in batches, with as many threads.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import whatsit
from whatsit.images.decode import decode

PORT = 8917


@contextmanager
def serving(*arguments: str) -> Iterator[int]:
    """The process number of a service that is ready."""
    command = [sys.executable, "-m", "whatsit.apps.cli", "serve", *arguments, "--port", str(PORT)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stderr=log)
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz")
                break
            except OSError:
                assert process.poll() is None, "the service did not start"
                time.sleep(0.05)
        try:
            yield process.pid
        finally:
            process.terminate()
            assert process.wait(20) == 0


def load(path: str, body: Path, **options: Any) -> dict[str, Any]:
    command = [
        sys.executable,
        str(Path(__file__).with_name("load.py")),
        str(options.pop("port", PORT)),
        path,
        str(body),
    ]
    for header in options.pop("header", ()):
        command += ["--header", header]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def direct(predictor: whatsit.Predictor, data: bytes, seconds: float = 5.0) -> tuple[float, float, float]:
    """Return milliseconds of one file, and images/s from pixels and from files."""
    pixels = decode(data, predictor.size)
    predictor.predict([data])
    single = []
    for _ in range(100):
        started = time.perf_counter()
        predictor.predict([data])
        single.append(time.perf_counter() - started)
    rates = []
    for batch in (1, 8, 32):
        stack = np.repeat(pixels[None], batch, axis=0)
        predictor.answer(stack)
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds / 3:
            predictor.answer(stack)
            done += batch
        rates.append(done / (time.perf_counter() - started))
    streamed = max(64, int(seconds * max(rates) / 2))
    started = time.perf_counter()
    for _ in predictor.answers_each(range(streamed), lambda _: data):
        pass
    return 1000 * statistics.median(single), max(rates), streamed / (time.perf_counter() - started)


def resources(process: int) -> tuple[float, int, int]:
    """Resident megabytes, file descriptors and threads."""
    status = Path(f"/proc/{process}/status").read_text()
    number = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if len(line.split()) > 1}
    return int(number["VmRSS"]) / 1024, len(list(Path(f"/proc/{process}/fd").iterdir())), int(number["Threads"])


def show(what: str, found: dict[str, Any]) -> None:
    print(f"  {what}: {found}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument(
        "--part",
        action="append",
        choices=["rate", "overload", "soak", "reload", "peer"],
        help="all but soak by default",
    )
    parser.add_argument("--peer", help="a Python with litserve, to measure peer_litserve.py beside whatsit")
    options = parser.parse_args()
    parts = options.part or ["rate", "overload", "reload"]
    predictor = whatsit.load(options.model)
    data = options.picture.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        pixels = decode(data, predictor.size)
        head = json.dumps(
            {
                "inputs": [
                    {
                        "name": "pixels",
                        "datatype": "UINT8",
                        "shape": [1, *pixels.shape],
                        "parameters": {"binary_data_size": pixels.size},
                    }
                ],
                "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
            }
        ).encode()
        raw = Path(folder) / "pixels"
        raw.write_bytes(head + pixels.tobytes())
        tensor = {
            "path": "/v2/models/m/infer",
            "body": raw,
            "header": [f"Inference-Header-Content-Length: {len(head)}"],
        }
        picture = {"path": "/v1/predict", "body": options.picture}
        single, by_pixels, by_files = direct(predictor, data)
        print(f"direct: {single:.2f} ms a file, {by_pixels:.0f} pictures/s from pixels (C), {by_files:.0f} from files")
        if "rate" in parts:
            rates(options, tensor, picture, single, by_pixels, by_files)
        if options.peer:
            peer(options, Path(folder), data)
        if "overload" in parts:
            overload(options, tensor, by_pixels)
        if "soak" in parts:
            soak(options, tensor, by_pixels)
        if "reload" in parts:
            reload(options, tensor, by_pixels, Path(folder))


def rates(options: Any, tensor: Any, picture: Any, single: float, by_pixels: float, by_files: float) -> None:
    with serving(f"m={options.model}"):
        load(**picture, seconds=2)
        one = load(**picture, seconds=5)
        show("one client, a file", one)
        print(f"  p50 {one['good']['p50']:.2f} ms: direct + {one['good']['p50'] - single:.2f} ms")
        many = load(**tensor, clients=32, seconds=options.seconds)
        show("32 clients, pixels", many)
        print(f"  {many['rate'] / by_pixels:.2f} C")
        files = load(**picture, clients=32, seconds=options.seconds)
        show("32 clients, files", files)
        print(f"  {files['rate'] / by_files:.2f} of decoding and inference done directly")
    with serving(f"m={options.model}", "--max-batch", "1"):
        load(**tensor, clients=32, seconds=2)
        alone = load(**tensor, clients=32, seconds=options.seconds)
        show("without batches", alone)
        print(f"  micro-batching {many['rate'] / alone['rate']:.2f} times as fast")


def peer(options: Any, folder: Path, data: bytes) -> None:
    form = folder / "form"
    head = b'--x\r\nContent-Disposition: form-data; name="request"; filename="a.jpg"\r\n\r\n'
    form.write_bytes(head + data + b"\r\n--x--\r\n")
    asking = {"body": form, "header": ["Content-Type: multipart/form-data; boundary=x"]}
    script = str(Path(__file__).with_name("peer_litserve.py"))
    environment = {**os.environ, "PYTHONPATH": str(Path(whatsit.__file__).parent.parent)}
    command = [options.peer, script, options.model, str(PORT + 1)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
    ) as other:
        while (
            other.poll() is None
            and load("/predict", form, port=PORT + 1, seconds=0.2, header=asking["header"])["rate"] == 0
        ):
            time.sleep(0.2)
        load("/predict", **asking, port=PORT + 1, clients=32, seconds=2)
        for clients in (1, 32):
            theirs = load("/predict", **asking, port=PORT + 1, clients=clients, seconds=options.seconds)
            show(f"LitServe, {clients} clients", theirs)
        os.killpg(other.pid, signal.SIGKILL)  # its workers too, which would go on
    with serving(f"m={options.model}"):
        load("/v1/predict", **asking, clients=32, seconds=2)
        for clients in (1, 32):
            show(f"whatsit, {clients} clients", load("/v1/predict", **asking, clients=clients, seconds=options.seconds))


def overload(options: Any, tensor: Any, by_pixels: float) -> None:
    with serving(f"m={options.model}"):
        load(**tensor, clients=8, seconds=2)
        show("64 clients at 0.7 C", load(**tensor, clients=64, seconds=3 * options.seconds, rate=0.7 * by_pixels))
        found = load(**tensor, clients=256, seconds=options.seconds, rate=3 * by_pixels)
        show("256 clients at 3 C", found)
        print(f"  goodput {found['rate'] / by_pixels:.2f} C")


def soak(options: Any, tensor: Any, by_pixels: float) -> None:
    with serving(f"m={options.model}") as process:
        load(**tensor, clients=32, seconds=60)
        before = resources(process)
        for minute in range(10):
            found = load(**tensor, clients=32, seconds=60)
            megabytes, descriptors, threads = resources(process)
            print(
                f"  minute {minute + 1}: {found['rate']:.0f}/s, {megabytes:.0f} MB, {descriptors} files, {threads} threads",
                flush=True,
            )
        print(f"  memory grew by {megabytes / before[0] - 1:.1%}; files and threads before: {before[1]}, {before[2]}")


def reload(options: Any, tensor: Any, by_pixels: float, folder: Path) -> None:
    source = Path(options.model)
    source = source / "model.whatsit" if source.is_dir() else source
    path = Path(shutil.copy(source, folder / "m.whatsit"))
    token = folder / "token"
    token.write_text("a-token-for-the-benchmark")
    with serving(f"m={path}", "--admin-token-file", str(token)):
        command = [
            sys.executable,
            str(Path(__file__).with_name("load.py")),
            str(PORT),
            tensor["path"],
            str(tensor["body"]),
        ]
        command += [
            "--header",
            tensor["header"][0],
            "--clients",
            "8",
            "--seconds",
            str(3 * options.seconds),
            "--rate",
            str(0.3 * by_pixels),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as asking:
            count = 0
            while asking.poll() is None and count < 100:
                url = f"http://127.0.0.1:{PORT}/v2/repository/models/m/load"
                request = urllib.request.Request(url, b"", {"X-Admin-Token": token.read_text()})
                assert urllib.request.urlopen(request).status == 200
                count += 1
            print(f"  {count} reloads under load: {asking.communicate()[0].decode().strip()}")


if __name__ == "__main__":
    main()
