"""The help of every command as one text: what ``docs/cli_help.txt`` holds.

After a change of the command line: ``python -m tests.cli.help`` from the repository's root writes
the file again.
"""

import os
from pathlib import Path

import typer
from typer.testing import CliRunner

from paramdiff.cli._app import app

HELP_FILE = Path(__file__).parents[2] / "docs" / "cli_help.txt"
PLAIN = {
    "COLUMNS": "90",
    "TERMINAL_WIDTH": "90",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "FORCE_COLOR": None,
    "PY_COLORS": None,
    "GITHUB_ACTIONS": None,
}


def commands() -> list[str]:
    """The names of all commands, in the order of the help."""
    return list(typer.main.get_command(app).commands)


def rendered() -> str:
    """The help of the program and of every command, at a fixed width and without color."""
    runner = CliRunner()
    parts = []
    for arguments in ([], *([command] for command in commands())):
        result = runner.invoke(app, [*arguments, "--help"], env=PLAIN, prog_name="paramdiff")
        assert result.exit_code == 0, result.output
        lines = (line.rstrip() for line in result.output.strip().splitlines())
        parts.append("\n".join(lines))
    return "\n\n\n".join(parts) + "\n"


if __name__ == "__main__":
    os.environ.update({name: value for name, value in PLAIN.items() if value is not None})
    HELP_FILE.parent.mkdir(exist_ok=True)
    HELP_FILE.write_text(rendered(), encoding="utf-8")
