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
        str, typer.Argument(help="The checkpoints to judge: a folder, a glob, or a run.")
    ],
    originals: Annotated[
        str,
        typer.Option(help="The checkpoints to compare with: a zoo, a run, or others."),
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
        typer.Option(help="Glob of the tensors to compare; by default all, or those of the zoo."),
    ] = None,
    base_checkpoint: Annotated[
        Path | None,
        typer.Option(help="A complete checkpoint, if the originals hold some tensors only."),
    ] = None,
    state_dict_key: StateDictKey = None,
    num_held_out: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Hold out the last originals, so many; by default those that the generator held "
            "out, if they are known.",
        ),
    ] = None,
    copy_best: Annotated[
        int,
        typer.Option(
            min=0, help="Copy the networks with the best validation scores, so many, to best/."
        ),
    ] = 0,
    seed: Annotated[
        int,
        typer.Option(min=0, callback=known_seed, help="Random seed of baselines and intervals."),
    ] = 0,
    recalibrate_batchnorm: Annotated[
        bool,
        typer.Option(
            "--recalibrate-batchnorm", help="Also score with re-estimated BatchNorm statistics."
        ),
    ] = False,
    device: Device = "auto",
    ray: Ray = None,
) -> None:
    """Compare checkpoints, whatever made them, with their originals and with every baseline."""
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
