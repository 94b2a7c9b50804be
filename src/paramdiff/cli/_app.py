"""The program: its commands in the order of the help, and how it ends when something is wrong.

Heavy libraries load inside the commands, so that ``--help`` is quick. Old spellings of commands
and options are replaced before they are parsed.
"""

import warnings
from typing import Any

import typer
from typer.core import TyperGroup

from paramdiff.cli._console import console, errors
from paramdiff.cli._options import RENAMED_COMMANDS, with_present_options
from paramdiff.cli.check import check
from paramdiff.cli.compare import compare
from paramdiff.cli.fit import fit
from paramdiff.cli.generate import generate
from paramdiff.cli.inspect import inspect
from paramdiff.cli.make import make
from paramdiff.cli.methods import methods
from paramdiff.cli.push import push
from paramdiff.cli.quickstart import quickstart
from paramdiff.cli.recipes import recipes
from paramdiff.cli.report import report
from paramdiff.cli.run import run
from paramdiff.cli.sweep import sweep
from paramdiff.errors import UserError, in_one_line
from paramdiff.user_code import add_current_folder

COMMANDS = (
    *(quickstart, inspect, compare, make, methods, fit, generate, push),
    *(run, sweep, check, report, recipes),
)
GOES_ON = "the same command goes on from here"


class Commands(TyperGroup):
    """The group of commands; typer itself would end an interrupted one without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Replace commands and options of earlier versions, with a note on each."""
        name = args[0] if args else ""
        notes: list[str] = []
        if name in RENAMED_COMMANDS:
            notes.append(f"{name} is now {RENAMED_COMMANDS[name]}")
            name = RENAMED_COMMANDS[name]
        command = self.get_command(ctx, name)
        if command is not None:
            known = {option for one in command.params for option in one.opts}
            rest, found = with_present_options(name, args[1:], known)
            args, notes = [name, *rest], [*notes, *found]
        for note in dict.fromkeys(notes):
            if not console.quiet:
                errors.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; mistakes of the user are one line on stderr and exit status 2."""
        try:
            return super().invoke(ctx)
        except (UserError, OSError) as error:
            errors.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            errors.print(f"interrupted; {GOES_ON}", markup=False)
            raise typer.Exit(130) from None
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            line = f"out of memory; with more of it, {GOES_ON}: {in_one_line(error)}"
            errors.print(line, markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From trained checkpoints to new networks, and an honest report of what they are worth.",
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line; users' modules in the current folder can be named and imported."""
    add_current_folder()
    warnings.showwarning = _show_warning
    app()


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if category is UserWarning and not console.quiet:
        errors.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)


def _is_out_of_memory(error: Exception) -> bool:
    """Python's and numpy's, or torch's on a GPU or a CPU; torch may not be loaded."""
    is_torchs = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)
    return isinstance(error, MemoryError) or is_torchs
