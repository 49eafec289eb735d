"""The command line: route, ask, models, compare, demo, fit, eval, ledger, replay.

Exit codes: 0 done; 1 a model was asked and failed; 2 the input is not valid; 3 no model may do
the task. Tables go to standard output, progress to standard error; ``--json`` gives one JSON
object a line.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.markup import escape

import modelrouter
from modelrouter.cli import demo, learning, ledger, models, pull, routing
from modelrouter.cli.base import EXIT_BAD_INPUT, EXIT_MODEL_FAILED, EXIT_NO_MODEL, err, out
from modelrouter.exceptions import (
    ConfigurationError,
    InvalidTaskError,
    ModelRouterError,
    NoEligibleModelError,
)

__all__ = ["app", "main"]

app = typer.Typer(
    help="Which model should do this task?", no_args_is_help=True, pretty_exceptions_enable=False
)
for command in (
    routing.route,
    routing.ask,
    models.models,
    models.compare,
    demo.demo,
    learning.fit,
):
    app.command()(command)
app.command()(pull.pull)
app.command(name="eval")(learning.evaluation)
app.command()(ledger.replay)
app.add_typer(ledger.ledger, name="ledger")


def main() -> None:
    """Run the command line; this package's errors become a line and an exit code."""
    try:
        app()
    except NoEligibleModelError as error:
        _fail(error, EXIT_NO_MODEL)
    except (ConfigurationError, InvalidTaskError) as error:
        _fail(error, EXIT_BAD_INPUT)
    except ModelRouterError as error:
        _fail(error, EXIT_MODEL_FAILED)


def _fail(error: ModelRouterError, code: int) -> None:
    err.print(f"[red]{type(error).__name__}[/]: {escape(str(error))}", highlight=False)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Which model should do this task?"""
    if show:
        out.print(modelrouter.__version__)
        raise typer.Exit
