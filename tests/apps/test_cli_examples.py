"""The examples in the help of each command."""

from __future__ import annotations

import shlex

import pytest
import typer

from tests.command import whatsit
from whatsit.apps.cli import app
from whatsit.apps.cli.examples import EXAMPLES

GROUP = typer.main.get_command(app)


def test_every_command_has_two_examples() -> None:
    assert {name: len(EXAMPLES.get(name, ())) for name in GROUP.commands} == dict.fromkeys(GROUP.commands, 2)


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_options_of_examples_exist(line: str) -> None:
    program, name, *words = shlex.split(line.partition(" > ")[0])
    assert program == "whatsit"
    command = GROUP.commands[name]
    command.make_context(name, words, resilient_parsing=True)
    known = {option for one in command.params for option in one.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_examples_stand_in_the_help_on_lines_of_their_own() -> None:
    lines = whatsit("predict", "--help").stdout.splitlines()
    assert "Examples:" in [line.strip() for line in lines]
    assert "whatsit predict runs/food lunch.jpg" in [line.strip() for line in lines]
