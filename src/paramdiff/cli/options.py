"""Options and arguments that several verbs have."""

from pathlib import Path
from typing import Annotated

import typer

from paramdiff.settings import HIGHEST_SEED


def known_seed(seed: int) -> int:
    """The seed, where every library takes it."""
    if seed > HIGHEST_SEED:
        raise typer.BadParameter(f"expected at most {HIGHEST_SEED}, found {seed}")
    return seed


Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Standardize = Annotated[
    bool,
    typer.Option(
        "--standardize",
        help="With vectors: subtract each feature's mean over the training rows and divide by its "
        "standard deviation there; else they are taken as they are.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a field: generation.spread=0.8"),
]
Reuse = Annotated[
    Path | None, typer.Option("--from", metavar="RUN", help="Copy this run's matching stages.")
]
Entry = Annotated[
    str | None, typer.Option(metavar="KEY", help="Of the state dict, where a file holds several.")
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
    typer.Option(help="A task's name, or module:function of (seed) or () that returns one."),
]
Data = Annotated[
    str | None, typer.Option(help="A set's name, or imagefolder:PATH, npz:PATH, mnist:PATH.")
]
Network = Annotated[
    str | None,
    typer.Option(
        help="With --data: timm:NAME, torchvision:NAME, or module:NAME of your own: a torch "
        "module, or a class or function of (num_classes, input_shape) or of nothing."
    ),
]
ImageSize = Annotated[
    int | None, typer.Option(min=1, help="Pixels per side of the network's input.")
]
ScoringFunction = Annotated[
    str | None,
    typer.Option(
        help="module:function or path/to/file.py:function from a state dict to a number (higher "
        "is better), or to bool [E] of what is right; with an argument split, it is called with "
        "'validation' and 'test'."
    ),
]
ScoreValidation = Annotated[
    str | None,
    typer.Option(
        help="As --score, on other data: its scores select, and those of --score are reported."
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Work side by side on a Ray cluster; local starts one on this machine.",
    ),
]
RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A YAML file or a shipped recipe's name.")
]
