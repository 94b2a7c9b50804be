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
from paramdiff.errors import UserError


def compare(
    checkpoints: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINTS",
            help="The checkpoints to make something of: a folder, a glob, a zoo or a run. With "
            "--originals: the checkpoints to judge.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="A new folder for the report.")],
    originals: Annotated[
        str | None,
        typer.Option(help="The checkpoints that those to judge were generated from."),
    ] = None,
    samples: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIR", help="Networks of yours that take part beside all methods."
        ),
    ] = None,
    with_diffusion: Annotated[
        bool,
        typer.Option("--with-diffusion", help="Also fit a diffusion model to the checkpoints."),
    ] = False,
    write_best: Annotated[
        bool, typer.Option("--write-best", help="Write the best single network to best/.")
    ] = False,
    num_samples: Annotated[
        int, typer.Option(min=2, help="Networks of every method that is in front.")
    ] = 30,
    full: Annotated[
        bool, typer.Option("--full", help="Make so many of every method, in front or not.")
    ] = False,
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
    """Compare what every method makes of checkpoints, or judge networks generated from them."""
    loading()
    import paramdiff
    from paramdiff.device import resolve_device
    from paramdiff.parallel import connected

    with connected(ray, resolve_device(device)) as fan_out, progress_bars() as progress:
        evaluation = paramdiff.compare(
            checkpoints if originals is None else originals,
            out,
            generated=None if originals is None else checkpoints,
            samples=_parse_samples(samples or []),
            with_diffusion=with_diffusion,
            write_best=write_best,
            num_compared=num_samples,
            full=full,
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
    if write_best:
        say(f"The best single network: {out / 'best'}")


def _parse_samples(samples: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in samples:
        name, equals, folder = one.partition("=")
        if not (name and equals and folder) or name in found:
            raise UserError(f"--samples {one}: write NAME=DIR, each name once")
        found[name] = folder
    return found
