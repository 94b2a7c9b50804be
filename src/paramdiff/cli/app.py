"""The program: its verbs in the order of the help, and how it ends when something is wrong.

Heavy libraries load inside the verbs, so that ``--help`` answers at once.
"""

import warnings
from typing import Any

import typer
from typer.core import TyperGroup

from paramdiff.cli.console import errors
from paramdiff.cli.of_checkpoints import evaluate, fit, generate, inspect, push
from paramdiff.cli.of_recipes import check, quickstart, recipes, report, run, sweep
from paramdiff.errors import UserError

VERBS = (quickstart, run, sweep, check, inspect, fit, generate, evaluate, push, report, recipes)


class _Verbs(TyperGroup):
    """The group of verbs; typer itself would end an interrupted one without a word."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; mistakes of the user are one line on stderr and exit status 2."""
        try:
            return super().invoke(ctx)
        except (UserError, OSError) as error:
            errors.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            errors.print("interrupted; the same command goes on from here", markup=False)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From trained checkpoints to new networks, and an honest report of what they are worth.",
)
for verb in VERBS:
    app.command()(verb)


def main() -> None:
    """Run the command line."""
    warnings.showwarning = _show_warning
    app()


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if category is UserWarning:
        errors.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)
