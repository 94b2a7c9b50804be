"""``paramdiff fit``: its options."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paramdiff.cli._console import loading, progress_bars, say, show_facts
from paramdiff.cli._options import (
    Checkpoints,
    Data,
    Device,
    ImageSize,
    Network,
    Overrides,
    ScoreValidation,
    ScoringFunction,
    Standardize,
    StateDictKey,
    TaskName,
    known_seed,
)

if TYPE_CHECKING:
    from paramdiff.commands.fit import FitPlan


def fit(
    checkpoints: Checkpoints,
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    select: Annotated[
        list[str] | None,
        typer.Option(help="Glob of the tensors to generate; by default all that differ."),
    ] = None,
    include_buffers: Annotated[
        bool,
        typer.Option(
            "--include-buffers", help="Let --select match normalization statistics, too."
        ),
    ] = False,
    base_checkpoint: Annotated[
        Path | None,
        typer.Option(help="A complete checkpoint for the tensors that are not selected."),
    ] = None,
    state_dict_key: StateDictKey = None,
    num_samples: Annotated[int, typer.Option(min=1, help="Number of networks to generate.")] = 20,
    task: TaskName = None,
    data: Data = None,
    network: Network = None,
    image_size: ImageSize = None,
    score_fn: ScoringFunction = None,
    score_validation: ScoreValidation = None,
    standardize: Standardize = False,
    time_budget: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="MINUTES",
            help="Time to train the denoiser and generate, on this machine.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Go on even if reconstructions are too poor.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, callback=known_seed, help="Random seed.")] = 0,
    device: Device = "auto",
    overrides: Overrides = None,
) -> None:
    """Learn from checkpoints, whatever made them, and write new ones in the same format.

    With --task, --data or --score-fn, the predictions of reconstructed networks decide if the
    codec is good enough; else their parameters do.
    """
    loading()
    import paramdiff

    with progress_bars() as progress:
        result = paramdiff.fit(
            checkpoints,
            out,
            select=select or (),
            include_buffers=include_buffers,
            base_checkpoint=base_checkpoint,
            state_dict_key=state_dict_key,
            num_samples=num_samples,
            task=task,
            data=data,
            network=network,
            image_size=image_size,
            score_fn=score_fn,
            score_validation=score_validation,
            standardize=standardize,
            time_budget=time_budget,
            force=force,
            seed=seed,
            device=device,
            overrides=overrides or (),
            log=say,
            on_plan=_show_plan,
            progress=progress,
        )
    show_facts(result.facts, result.warnings)
    say(f"{num_samples} checkpoints in {result.generated}")
    say(f"More of them: paramdiff generate {result.pipeline} --out DIR")


def _show_plan(plan: "FitPlan") -> None:
    show_facts(plan.facts, plan.warnings)
