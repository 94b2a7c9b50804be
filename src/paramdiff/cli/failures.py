"""The group of verbs: old spellings are replaced, and whatever ends a verb is told in one line."""

from typing import Any

import typer
from typer.core import TyperGroup

from paramdiff.cli._console import console, errors
from paramdiff.cli._options import RENAMED_COMMANDS, with_present_options
from paramdiff.errors import UserError, in_one_line

GOES_ON = "the same command goes on from here"


class Verbs(TyperGroup):
    """The group; typer itself would end an interrupted verb without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Replace commands and options of earlier versions, with a note on each."""
        name, notes = (args[0] if args else ""), []
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
        """Run a verb; mistakes of the user are one line on stderr and exit status 2."""
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
            told = in_one_line(error)
            line = f"out of memory; with more of it, {GOES_ON}: {told}"
            errors.print(line, markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None


def _is_out_of_memory(error: Exception) -> bool:
    """Python's and numpy's, or torch's on a GPU or a CPU; torch may not be loaded."""
    is_torchs = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)
    return isinstance(error, MemoryError) or is_torchs
