"""The command line.

Names, options and exit codes are a contract: 0 done, 1 failed, 2 wrong use.

One module for each group of commands. Nothing heavy is imported at the top of any of them: `whatsit --help` answers at once,
and each command loads what it needs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from whatsit.apps.cli import (
    apps,
    costs,
    data,
    exports,
    foreign,
    machine,
    models,
    predict,
    runs,
    service,
    shards,
    training,
    watch,
)
from whatsit.apps.cli.examples import examples_of
from whatsit.apps.process import run_guarded
from whatsit.apps.terminal import out
from whatsit.process import own_process
from whatsit.version import __version__

app = typer.Typer(
    name="whatsit",
    help="From a folder of pictures to a measured image classifier. Start with: whatsit demo",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; every error becomes one line, without a traceback."""
    own_process()
    run_guarded(app)


def _version(wanted: bool) -> None:
    if wanted:
        out(f"whatsit {__version__}")
        raise typer.Exit


@app.callback()
def _whatsit(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


# In the order of `whatsit --help`.
for command in (
    *(
        training.demo,
        training.train,
        models.evaluate,
        models.check,
        predict.predict,
        predict.explain,
        predict.similar,
        watch.watch,
        predict.suggest,
        data.explore,
    ),
    *(
        training.tune,
        exports.export,
        exports.verify,
        exports.benchmark,
        models.compare,
        models.rename,
        costs.costs,
        models.ensemble,
        foreign.import_model,
        runs.runs,
        runs.track,
    ),
    *(shards.shard, shards.answers),
    *(service.serve, apps.gradio, data.cache, machine.checks),
):
    name = "import" if command is foreign.import_model else command.__name__
    app.command(name, epilog=examples_of(name))(command)
app.command("app", epilog=examples_of("app"))(apps.web_app)
