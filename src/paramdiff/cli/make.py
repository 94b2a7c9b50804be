"""``paramdiff make``: its options."""

from pathlib import Path
from typing import Annotated

import typer

from paramdiff.cli._console import loading, progress_bars, say, show_facts
from paramdiff.cli._options import (
    Checkpoints,
    Data,
    Device,
    ImageSize,
    Network,
    ScoreValidation,
    ScoringFunction,
    Standardize,
    StateDictKey,
    TaskName,
    known_seed,
)


def make(
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD", help="average, average@16, swag@1.3, ...: see paramdiff methods."
        ),
    ],
    checkpoints: Checkpoints,
    out: Annotated[Path, typer.Option(help="A new folder for the checkpoints.")],
    num_samples: Annotated[
        int, typer.Option(min=1, help="Number of networks; methods with one result make one.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, callback=known_seed, help="Random seed.")] = 0,
    select: Annotated[
        list[str] | None, typer.Option(help="Glob of the tensors to make; by default all.")
    ] = None,
    base_checkpoint: Annotated[
        Path | None,
        typer.Option(help="A complete checkpoint for the tensors that are not selected."),
    ] = None,
    state_dict_key: StateDictKey = None,
    align: Annotated[
        bool,
        typer.Option("--align", help="Bring the channels of independent runs into one order."),
    ] = False,
    task: TaskName = None,
    data: Data = None,
    network: Network = None,
    image_size: ImageSize = None,
    score_fn: ScoringFunction = None,
    score_validation: ScoreValidation = None,
    standardize: Standardize = False,
    keep_batchnorm: Annotated[
        bool,
        typer.Option(
            "--keep-batchnorm", help="Do not re-estimate BatchNorm statistics on the data."
        ),
    ] = False,
    keep_factors: Annotated[
        bool,
        typer.Option(
            "--keep-factors",
            help="Make the factors of low-rank adapters (LoRA) one by one, not their products.",
        ),
    ] = False,
    device: Device = "auto",
) -> None:
    """Make networks from checkpoints: an average, a soup, SWAG or any other method."""
    loading()
    import paramdiff

    with progress_bars() as progress:
        made = paramdiff.make(
            method,
            checkpoints,
            out,
            num_samples=num_samples,
            seed=seed,
            select=select or (),
            base_checkpoint=base_checkpoint,
            state_dict_key=state_dict_key,
            align=align,
            task=task,
            data=data,
            network=network,
            image_size=image_size,
            score_fn=score_fn,
            score_validation=score_validation,
            standardize=standardize,
            keep_batchnorm=keep_batchnorm,
            keep_factors=keep_factors,
            device=device,
            log=say,
            progress=progress,
        )
    show_facts(made.facts, ())
    say(f"{made.num_networks} checkpoint{'s' if made.num_networks > 1 else ''} in {made.folder}")
