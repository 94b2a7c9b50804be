"""``paramdiff compare``: its options."""

from pathlib import Path
from typing import Annotated

import typer

from paramdiff.cli._console import loading, progress_bars, say, show_evaluation
from paramdiff.cli._options import (
    Data,
    Device,
    ImageSize,
    Network,
    Ray,
    ScoreValidation,
    ScoringFunction,
    Standardize,
    StateDictKey,
    TaskName,
    known_seed,
)


def compare(
    generated: Annotated[
        str, typer.Argument(help="The checkpoints to judge: a folder, a glob, or a run's folder.")
    ],
    originals: Annotated[
        str,
        typer.Option(help="The checkpoints to judge against: a zoo, a run's folder, or others."),
    ],
    out: Annotated[Path, typer.Option(help="A new folder for the report.")],
    task: TaskName = None,
    data: Data = None,
    network: Network = None,
    image_size: ImageSize = None,
    score_fn: ScoringFunction = None,
    score_validation: ScoreValidation = None,
    standardize: Standardize = False,
    select: Annotated[
        list[str] | None,
        typer.Option(help="Tensors to compare; all by default, or the zoo's own."),
    ] = None,
    base_checkpoint: Annotated[
        Path | None, typer.Option(help="A complete checkpoint, where the originals are parts.")
    ] = None,
    state_dict_key: StateDictKey = None,
    num_held_out: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Originals to hold out, the last ones; by default those that the generator held "
            "out, where that is known.",
        ),
    ] = None,
    copy_best: Annotated[
        int, typer.Option(min=0, help="Copy so many, the best on validation data, to best/.")
    ] = 0,
    seed: Annotated[
        int, typer.Option(min=0, callback=known_seed, help="Of baselines and intervals.")
    ] = 0,
    recalibrate_batchnorm: Annotated[
        bool,
        typer.Option(
            "--recalibrate-batchnorm", help="Also score with BatchNorm statistics estimated anew."
        ),
    ] = False,
    device: Device = "auto",
    ray: Ray = None,
) -> None:
    """Judge checkpoints, whatever made them, beside everything the originals give for free."""
    loading()
    import paramdiff
    from paramdiff.device import resolve_device
    from paramdiff.parallel import connected

    with connected(ray, resolve_device(device)) as fan_out, progress_bars() as progress:
        evaluation = paramdiff.compare(
            generated,
            originals,
            out,
            task=task,
            data=data,
            network=network,
            image_size=image_size,
            score_fn=score_fn,
            score_validation=score_validation,
            standardize=standardize,
            select=select or (),
            base_checkpoint=base_checkpoint,
            state_dict_key=state_dict_key,
            num_held_out=num_held_out,
            copy_best=copy_best,
            seed=seed,
            recalibrate_batchnorm=recalibrate_batchnorm,
            device=device,
            fan_out=fan_out,
            log=say,
            progress=progress,
        )
    show_evaluation(evaluation)
    say(f"Report: {out / 'report.html'}")
    if copy_best:
        shared = evaluation.score_info.selects_on_test
        by = "by the reported scores themselves" if shared else "on validation data"
        say(f"The best {copy_best} {by}: {out / 'best'}")
