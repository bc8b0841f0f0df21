"""What a page says, run in a folder of its own."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from filelock import FileLock

from tests import onnx_networks
from tests.docs.pages import ROOT, Block
from tests.drawn import KINDS, draw

SERVERS = re.compile(r"whatsit (?:serve|app|gradio|watch)\b|cd \S+ && python -m http\.server")  # what does not end
READY = re.compile(r"https?://[\w.\[\]:]+:\d+|^Watching ", re.MULTILINE)
PROGRAMS = ("npm", "gcc")
NEEDS = {
    "tune": "optuna",
    "export": "nncf",
    "coreml": "coremltools",
    "mlflow": "mlflow",
    "gradio": "gradio",
    "scale": "pyarrow",
}
PATIENCE = 90.0  # seconds for a server to answer
FIRST = {"photos": {"seed": 1, "name": 1}, "more": {"seed": 801, "name": 801}, "loose": {"seed": 501, "name": 1}}
NEAR = 12.0  # points by which a percentage may differ from the one shown: of twenty pictures one is five


class Trainings:
    """Trainings that pages begin with alike: each is run once, and its run folder laid into the next page's folder.

    Pages in other processes have their pictures at another place, which a run folder names.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def laid(self, history: str, runs: Path) -> str | None:
        """Lay the runs of the same history, and return what was printed; nothing where there is none."""
        kept = self._place(history)
        if not kept.exists():
            return None
        shutil.copytree(kept / "runs", runs, dirs_exist_ok=True)
        was = (kept / "place").read_text(encoding="utf-8")
        for path in runs.glob("*/metrics.json"):
            path.write_text(path.read_text(encoding="utf-8").replace(was, str(runs.parent)), encoding="utf-8")
        return (kept / "printed").read_text(encoding="utf-8")

    def keep(self, history: str, runs: Path, printed: str) -> None:
        """Keep the runs of a history, unless another page has."""
        made = Path(tempfile.mkdtemp(dir=self._folder))
        shutil.copytree(runs, made / "runs")
        (made / "place").write_text(str(runs.parent), encoding="utf-8")
        (made / "printed").write_text(printed, encoding="utf-8")
        with contextlib.suppress(OSError):  # it is there
            made.rename(self._place(history))

    def _place(self, history: str) -> Path:
        return self._folder / hashlib.sha256(history.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=2000)
def drawn(kind: str, seed: int) -> bytes:
    """Return a drawn picture as JPEG; many pages want the same ones."""
    made = io.BytesIO()
    draw(kind, seed).save(made, "JPEG", quality=88)
    return made.getvalue()


class Session:
    """A folder, the servers that were started in it, and the environment of its commands.

    The folder is at the same path for every page, as run folders know where their pictures are.
    """

    def __init__(self, folder: Path, cache: Path, trainings: Trainings, ports: Path) -> None:
        self.folder = folder
        self._trainings = trainings
        self._ports = FileLock(ports)  # pages that are run at the same time start servers at the same ports
        self._history: list[str] = []
        self._servers: list[subprocess.Popen[bytes]] = []
        tools = folder.parent / f"{folder.name}-bin"
        tools.mkdir()
        for name, module in (("whatsit", " -m whatsit.apps.cli"), ("python", "")):
            (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{module} "$@"\n')
            (tools / name).chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep),
            "WHATSIT_CACHE": str(cache),
            "XDG_STATE_HOME": str(folder.parent / f"{folder.name}-state"),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "120",
            "NO_COLOR": "1",
        }

    def prepare(self, said: str) -> None:
        """Draw what a comment asks for."""
        what, *words = said.split()
        if what == "run":
            self.command(said.removeprefix("run "), {0})
            return
        if what == "stop":
            self.close()
            return
        if what == "wait":
            self._wait(self.folder / words[0])
            return
        if what != "picture":  # one that is beside the folders changes no training
            self._history.append(said)
        if what == "broken":
            (self.folder / words[0]).write_bytes(b"\xff\xd8\xff\xe0" + bytes(500))
        elif what == "picture":
            self._draw(words[0], words[1], 77)
        elif what == "network":
            onnx_networks.convolutional(self.folder / words[0])
        elif what == "classifier":
            onnx_networks.classifier(self.folder / words[0], len(words) - 1)
            (self.folder / "labels.txt").write_text("".join(f"{word}\n" for word in words[1:]), encoding="utf-8")
        else:
            self._draw_folder(*words, **FIRST[what])

    def _draw_folder(self, folder: str, count: str, *kinds: str, seed: int, name: int) -> None:
        for kind in kinds or KINDS:
            shown, _, drawn = kind.partition("=")
            for number in range(int(count)):
                self._draw(f"{folder}/{shown}/{name + number:03}.jpg", drawn or shown, seed + number)

    def _wait(self, path: Path) -> None:
        ends = time.monotonic() + PATIENCE
        while not (path.exists() and path.stat().st_size):
            assert time.monotonic() < ends, f"{path.name} is not written"
            time.sleep(0.1)

    def _draw(self, name: str, kind: str, seed: int) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawn(kind, seed))

    def run(self, block: Block) -> str:
        """Run a block; return what it printed."""
        if block.language == "python":
            return self._finish([sys.executable, "-c", block.text], {0})
        codes = {1} if "fails" in block.notes else {0, 1} if "either" in block.notes else {0}
        if block.language == "console":
            [line] = [
                line[2:] for line in block.text.splitlines() if line.startswith("$ ")
            ]  # one, whose output follows
            return self.command(line, codes)
        for line in filter(None, map(str.strip, block.text.splitlines())):
            if SERVERS.match(line):
                self._serve(line)
            else:
                self.command(line, codes)
        return ""

    def command(self, line: str, codes: set[int]) -> str:
        """Run one command, or lay what it made where it was run before on the same page's beginning."""
        self._history.append(line)
        history, runs = "\n".join(self._history), self.folder / "runs"
        trains = line.startswith("whatsit train ")
        printed = self._trainings.laid(history, runs) if trains else None
        if printed is None:
            printed = self._finish(["bash", "-c", line], codes)
            if trains:
                self._trainings.keep(history, runs, printed)
        return printed

    def _finish(self, command: list[str], codes: set[int]) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            encoding="utf-8",
            timeout=900,
            check=False,
        )
        assert done.returncode in codes, f"{command[-1]}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _serve(self, line: str) -> None:
        if not self._ports.is_locked:
            self._ports.acquire()
        browserless = f"{line} --no-browser" if re.match(r"whatsit (app|gradio)", line) else line
        log = self.folder.parent / f"{self.folder.name}-{len(self._servers)}.log"
        with log.open("wb") as file:
            server = subprocess.Popen(
                ["bash", "-c", browserless],
                cwd=self.folder,
                env=self._environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._servers.append(server)
        ends = time.monotonic() + PATIENCE
        while not READY.search(log.read_text(encoding="utf-8", errors="replace")):
            assert server.poll() is None, f"{line}\n{log.read_text()}"
            assert time.monotonic() < ends, f"{line}: no answer\n{log.read_text()}"
            time.sleep(0.2)

    def close(self) -> None:
        """End the servers."""
        for server in self._servers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
        for server in self._servers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(20)
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
        self._servers.clear()
        self._ports.release(force=True)


def missing(block: Block) -> str:
    """Return why a block is not run here, or nothing."""
    for note in block.notes:
        what, _, rest = note.partition(" ")
        if what == "skip,":
            return rest
        if what == "needs":
            there = shutil.which(rest) if rest in PROGRAMS else importlib.util.find_spec(NEEDS[rest])
            if there is None:
                return f"{rest} is not installed"
    return ""


def same(shown: str, seen: str) -> bool:
    """Return whether the output in a page is what was seen.

    Times, sizes, losses and the width of columns may differ, percentages a little. So may the class nearest to an
    unknown picture, and which of many alike pictures are most alike: rounding chooses. `...` stands for any lines.
    """
    if "..." in shown.split("\n"):
        parts = [part.strip("\n") for part in re.split(r"^\.\.\.$", shown, flags=re.MULTILINE)]
        pattern = "(?:.*\n)*?".join(re.escape(_plain(part)) + ("\n" if part else "") for part in parts)
        return re.fullmatch(pattern + "(?:.*\n?)*", _plain(seen) + "\n") is not None
    one, other = _plain(shown), _plain(seen)
    if one != other:
        return False
    return all(abs(a - b) <= NEAR for a, b in zip(_percentages(shown), _percentages(seen), strict=True))


def _plain(text: str) -> str:
    text = re.sub(r"(?:[<>] ?)?\b\d[\d.,]*(?= ?%)", "#", text)
    text = re.sub(r"\b\d[\d.,]* ?(s|ms|min|MB|kB|GB)\b", "# unit", text)
    text = re.sub(r"\b\d[\d.,]*/s\b", "#/s", text)
    text = re.sub(r"\b\d+\.\d+(e-?\d+)?\b", "#", text)
    text = re.sub(r"\bunknown, nearest to \S+", "unknown, nearest to CLASS", text)
    text = re.sub(r"^ *# +\S+/\S+$", "# PICTURE", text, flags=re.MULTILINE)
    lines = [re.sub(r"[ ─-]{2,}", "  ", line).strip() for line in text.strip("\n").splitlines()]
    return "\n".join(lines)


def _percentages(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"\b(\d[\d.,]*) ?%", text)]
