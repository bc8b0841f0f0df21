"""At the end it is said which code of the documentation was not run, and why."""

from __future__ import annotations

import pytest

NOT_RUN = "code that was not run"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    found = sorted(
        {
            str(why)
            for report in reports
            if report.when == "call"
            for name, why in report.user_properties
            if name == NOT_RUN
        }
    )
    if found:
        terminalreporter.section(NOT_RUN)
        for line in found:
            terminalreporter.write_line(line)
