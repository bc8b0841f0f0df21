"""Write docs/reference/command-line.md from the command line itself, by `typer utils docs`: python docs/command_line.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "reference" / "command-line.md"
HEAD = """# Command line

Made from the commands' own help by `python docs/command_line.py`; do not edit. `whatsit COMMAND --help` says the same. What the
exit code means: [Exit codes](exit-codes.md).

DATA is a folder of class folders, an archive of one, a CSV, or a name ([Train on my own
pictures](../how-to/my-pictures.md)). MODEL is a `.whatsit` file or a [run folder](run-folder.md).
"""


def page() -> str:
    """Return the page."""
    command = [sys.executable, "-m", "typer", "whatsit.apps.cli", "utils", "docs", "--name", "whatsit"]
    text = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout  # noqa: S603 - our own
    _, commands = text.split("\n## ", 1)
    commands = re.sub(
        r"\n[\b\n]*Examples:\n((?:  .*\n)+)", _examples, f"## {commands}"
    )  # click wraps nothing after a \b
    commands = re.sub(r"\*\*(Usage|Arguments|Options)\*\*:", r"\1:", commands)
    commands = re.sub(r"docs/([\w/-]+)\.md", r"[\1](../\1.md)", commands)
    commands = commands.replace("[,", "\\[,")  # no links
    short = re.sub(r"\n{3,}", "\n\n", commands).strip()
    return f"{HEAD}\n{short}\n"


def _examples(found: re.Match[str]) -> str:
    lines = "\n".join(line.strip() for line in found[1].splitlines())
    return f"\n\nExamples:\n\n```sh\n{lines}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
