"""Options and arguments that several commands have, and what some were once called."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import typer

from paramdiff.recipe.error_messages import present_override
from paramdiff.settings import HIGHEST_SEED

RENAMED_COMMANDS = {"evaluate": "compare"}
"""Commands of earlier versions, which scripts may still call."""
RENAMED_OPTIONS = {
    "--anyway": "--force",
    "--base": "--base-checkpoint",
    "--buffers": "--include-buffers",
    "--entry": "--state-dict-key",
    "--from": "--reuse",
    "--guide": "--energy",
    "--guide-scale": "--energy-scale",
    "--keep-best": "--copy-best",
    "--minutes": "--time-budget",
    "--num": "--num-samples",
    "--score": "--score-fn",
    "--spread": "--temperature",
    "--standardise": "--standardize",
    "--steps": "--num-inference-steps",
}
"""Options of earlier versions."""
RENAMED_OPTIONS_OF = {"sweep": {"--base": "--base-recipe"}}
"""Those that have become something else in one command."""


def with_present_options(
    command: str, arguments: Sequence[str], known: Collection[str]
) -> tuple[list[str], list[str]]:
    """Replace options of earlier versions, and earlier keys and values of recipes after ``--set``.

    Args:
        command: the command's present name.
        arguments: what follows it.
        known: the options that the command has.

    Returns:
        The arguments, and one line on each replacement.
    """
    table = RENAMED_OPTIONS | RENAMED_OPTIONS_OF.get(command, {})
    present: list[str] = []
    notes: list[str] = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            return [*present, *arguments[place:]], notes
        option, equals, value = argument.partition("=")
        new = table.get(option)
        if new is not None and new in known:
            notes.append(f"{option} is now {new}")
            argument = f"{new}{equals}{value}"
        elif "--set" in known and (option == "--set" or arguments[place - 1 : place] == ["--set"]):
            override = value if equals and option == "--set" else argument
            changed = present_override(override)
            if changed != override:
                notes.append(f"{override} is now {changed}")
                argument = argument.replace(override, changed)
        present.append(argument)
    return present, notes


def known_seed(seed: int) -> int:
    """Return the seed if every library takes it."""
    if seed > HIGHEST_SEED:
        raise typer.BadParameter(f"expected at most {HIGHEST_SEED}, found {seed}")
    return seed


Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Standardize = Annotated[
    bool,
    typer.Option(
        "--standardize",
        help="Standardize vectors: subtract each feature's mean over the training rows and divide "
        "by its standard deviation.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a field: generation.temperature=0.8"),
]
Reuse = Annotated[
    Path | None,
    typer.Option("--reuse", metavar="RUN", help="Copy the matching stages of this run."),
]
StateDictKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Key of the state dict in files that hold several."),
]
Checkpoints = Annotated[
    list[str],
    typer.Argument(
        metavar="CHECKPOINTS",
        help="Files, folders, globs, or owner/name@revision,revision on the Hub.",
    ),
]
TaskName = Annotated[
    str | None,
    typer.Option(help="A task's name, or module:function that returns one from (seed) or ()."),
]
Data = Annotated[
    str | None, typer.Option(help="A data set's name, or imagefolder:PATH, npz:PATH, mnist:PATH.")
]
Network = Annotated[
    str | None,
    typer.Option(
        help="With --data: timm:NAME, torchvision:NAME, or module:NAME of your own: a torch "
        "module, or a class or function that takes (num_classes, input_shape) or nothing."
    ),
]
ImageSize = Annotated[
    int | None, typer.Option(min=1, help="Pixels per side of the network's input.")
]
ScoringFunction = Annotated[
    str | None,
    typer.Option(
        help="module:function or path/to/file.py:function from a state dict to a number (higher "
        "is better), or to bool [E], true for each correct prediction; if it has an argument "
        "split, it is called with 'validation' and 'test'."
    ),
]
ScoreValidation = Annotated[
    str | None,
    typer.Option(help="As --score-fn, on other data: selects networks; --score-fn is reported."),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Run in parallel on a Ray cluster; local starts one on this machine.",
    ),
]
RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A YAML file or a shipped recipe's name.")
]
