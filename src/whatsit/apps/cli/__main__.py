"""Run the command line: `python -m whatsit.apps.cli`."""

from __future__ import annotations

from whatsit.apps.cli import main

if __name__ == "__main__":
    main()
