"""The program: its commands in the order of the help, and how it ends when something is wrong.

Heavy libraries load inside the commands, so that ``--help`` answers at once.
"""

import warnings
from typing import Any

import typer

from paramdiff.cli._console import console, errors
from paramdiff.cli.failures import Verbs
from paramdiff.cli.of_checkpoints import compare, fit, generate, inspect, push
from paramdiff.cli.of_recipes import check, quickstart, recipes, report, run, sweep
from paramdiff.user_code import add_current_folder

VERBS = (quickstart, run, sweep, check, inspect, fit, generate, compare, push, report, recipes)

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From trained checkpoints to new networks, and an honest report of what they are worth.",
)
for command in VERBS:
    app.command()(command)


def main() -> None:
    """Run the command line; users' modules in the current folder can be named and imported."""
    add_current_folder()
    warnings.showwarning = _show_warning
    app()


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if category is UserWarning and not console.quiet:
        errors.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)
