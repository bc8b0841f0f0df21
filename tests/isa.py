"""Repeat what trains, verifies and exports (`-m isa`) as other processors, threads and seeds would: `make test-isa`.

A line a setting; settings may be named, such as `python -m tests.isa SSE41 seed+1`. The exit code is 1 where one fails.

TensorFlow and the oneDNN inside OpenVINO read ONEDNN_MAX_CPU_ISA; OpenVINO's own kernels read OV_CPU_MAX_ISA (2026.4 has it).
whatsit sets the second where only the first is set: OpenVINO alone would fail at a convolution then.
ONNX Runtime and the Eigen kernels of TensorFlow have no such switch: they compute as this processor does.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

ISAS = {"SSE41": "SSE4.1", "AVX2": "AVX2", "AVX512_CORE": "AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions"}
SETTINGS: dict[str, dict[str, str]] = {
    **{isa: {"ONEDNN_MAX_CPU_ISA": isa, "OV_CPU_MAX_ISA": isa} for isa in ISAS},
    "best": {},
    "no-onednn": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "no-openvino": {"WHATSIT_TEST_WITHOUT": "openvino"},
    "threads": {"WHATSIT_TEST_THREADS": "all"},  # the tests have one thread a process otherwise
    **{f"seed+{number}": {"WHATSIT_TEST_SEED": str(number)} for number in (1, 2, 3)},
}
# A convolution by each library, of which oneDNN says by which instructions it was computed.
PROBES = {
    "TensorFlow": "import tensorflow as tf; tf.function(lambda x, k: tf.nn.conv2d(x, k, 1, 'SAME'))("
    "tf.ones((8, 32, 32, 16)), tf.ones((3, 3, 16, 32)))",
    "OpenVINO": "import numpy as np, openvino as ov, openvino.opset13 as op; p = op.parameter([8, 16, 32, 32], np.float32); "
    "c = op.convolution(p, op.constant(np.ones((32, 16, 3, 3), np.float32)), [1, 1], [1, 1], [1, 1], [1, 1]); "
    "ov.Core().compile_model(ov.Model([op.result(c)], [p]), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})("
    "np.ones((8, 16, 32, 32), np.float32))",
}


def instructions(library: str, environment: dict[str, str]) -> str:
    """Return by what a library says it computes a convolution, such as `AVX2: brg_conv_fwd:avx2`."""
    environment = {**os.environ, **environment, "ONEDNN_VERBOSE": "1"}
    command = [sys.executable, "-c", PROBES[library]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return f"fails: {(done.stdout + done.stderr).strip().splitlines()[-1][:80]}"
    isa = re.search(r"info,cpu,isa:(?:Intel )?(.*)", done.stdout)
    way = re.search(r"exec,cpu,convolution,([^,]+)", done.stdout)
    return f"{isa[1] if isa else 'no oneDNN'}: {way[1] if way else 'no convolution by oneDNN'}"


def what_has_no_effect(name: str) -> list[str]:
    """Return a line for each library that does not compute as a setting wants it to."""
    wrong = []
    for library in PROBES:
        said = instructions(library, SETTINGS[name])
        if library == "OpenVINO" and name == "no-onednn":  # a setting of TensorFlow alone
            continue
        print(f"     {name}: {library}: {said}", flush=True)
        known = said.startswith(f"{ISAS[name]}: ") if name in ISAS else not said.startswith("fails")
        if not known or (name == "no-onednn") != said.endswith("no convolution by oneDNN"):
            wrong.append(f"no effect on {library}")
    return wrong


def run(name: str) -> bool:
    """Run the marked tests under a setting, print a line, and return whether all is well."""
    started = time.perf_counter()
    wrong = what_has_no_effect(name) if name in (*ISAS, "best", "no-onednn") else []
    command = [sys.executable, "-m", "pytest", "-m", "isa", "-q", "-n", "auto", "--dist", "loadfile", "tests"]
    environment = {**os.environ, **SETTINGS[name]}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            print(f"     {line[:200]}")
    ok = done.returncode == 0 and not wrong
    parts = [lines[-1].strip("= ") if lines else "no output", *wrong, f"{time.perf_counter() - started:.0f} s in all"]
    print(f"{'ok  ' if ok else 'FAIL'} {name:12} {'; '.join(parts)}", flush=True)
    return ok


def main(names: list[str]) -> int:
    """Run the settings that are named, or all; return the exit code."""
    unknown = [name for name in names if name not in SETTINGS]
    if unknown:
        print(f"unknown settings: {', '.join(unknown)}; allowed: {', '.join(SETTINGS)}")
        return 2
    passed = [run(name) for name in names or SETTINGS]  # all of them, whatever the first gives
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
