"""`python -m whatsit`: the command line, where the command itself is not in PATH."""

from __future__ import annotations

from whatsit.apps.cli import main

if __name__ == "__main__":
    main()
