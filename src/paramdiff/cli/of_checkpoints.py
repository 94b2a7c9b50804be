"""The commands that take somebody's checkpoints or a saved pipeline; no recipe is needed."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from paramdiff.cli._console import (
    loading,
    progress_bars,
    say,
    show_evaluation,
    show_facts,
    show_inspection,
)
from paramdiff.cli._options import (
    Checkpoints,
    Data,
    Device,
    ImageSize,
    Network,
    Overrides,
    Ray,
    ScoreValidation,
    ScoringFunction,
    Standardize,
    StateDictKey,
    TaskName,
    known_seed,
)


def inspect(
    checkpoints: Checkpoints,
    state_dict_key: StateDictKey = None,
    all_tensors: Annotated[
        bool, typer.Option("--all", help="Show the tensors that are equal, too.")
    ] = False,
) -> None:
    """Tell what a set of checkpoints is: what differs, what is broken, what would be generated."""
    loading()
    from paramdiff.commands.inspect import inspect_checkpoints

    with progress_bars() as stages:
        inspection = inspect_checkpoints(
            checkpoints,
            entry=state_dict_key,
            progress=partial(stages, "reading checkpoints"),
        )
    show_inspection(inspection, all_tensors=all_tensors)


def fit(
    checkpoints: Checkpoints,
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    select: Annotated[
        list[str] | None,
        typer.Option(help="Tensors to generate, as a glob; by default all that differ."),
    ] = None,
    include_buffers: Annotated[
        bool,
        typer.Option(
            "--include-buffers", help="Let --select match normalization statistics, too."
        ),
    ] = False,
    base_checkpoint: Annotated[
        Path | None, typer.Option(help="A complete checkpoint for what is not selected.")
    ] = None,
    state_dict_key: StateDictKey = None,
    num_samples: Annotated[int, typer.Option(min=1, help="How many networks to generate.")] = 20,
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
            help="For training the denoiser and generating, on this machine.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Go on where reconstructions are too poor.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, callback=known_seed, help="Of everything.")] = 0,
    device: Device = "auto",
    overrides: Overrides = None,
) -> None:
    """Learn from checkpoints, whatever made them, and write new ones in the same format.

    With --task, --data or --score-fn, what reconstructed networks answer decides whether the codec
    is good enough; else their parameters do.
    """
    loading()
    from paramdiff.commands.fit import plan_fit, refuse_early
    from paramdiff.commands.original_scores import checkpoints_in_words
    from paramdiff.commands.reconstruction_gate import ReconstructionCheck
    from paramdiff.commands.task_choice import asked_task, open_task
    from paramdiff.runs.run import make_networks

    refuse_early(
        checkpoints,
        out,
        select or [],
        with_buffers=include_buffers,
        entry=state_dict_key,
        device=device,
    )
    asked = None
    named = (task, data, network, score_fn, score_validation, image_size)
    if standardize or any(option is not None for option in named):
        asked = open_task(
            asked_task(
                score_fn,
                task,
                data,
                network,
                image_size,
                score_validation=score_validation,
                standardize=standardize,
            )
        )
        for line in checkpoints_in_words(
            asked, checkpoints, base=base_checkpoint, entry=state_dict_key, device=device
        ):
            say(line)
    with progress_bars() as stages:
        plan = plan_fit(
            checkpoints,
            out,
            patterns=select or [],
            with_buffers=include_buffers,
            base=base_checkpoint,
            entry=state_dict_key,
            num_samples=num_samples,
            minutes=time_budget,
            seed=seed,
            device=device,
            overrides=overrides or [],
            progress=partial(stages, "reading checkpoints"),
        )
    show_facts(plan.facts, plan.warnings)
    with progress_bars() as stages:
        check = ReconstructionCheck(asked, device, is_binding=not force)
        made = make_networks(plan.recipe, out, device=device, check=check, progress=stages)
    show_facts(made.facts, made.warnings)
    say(f"{num_samples} checkpoints in {out / 'generated'}")
    say(f"More of them: paramdiff generate {out / 'pipeline'} --out DIR")


def generate(
    pipeline: Annotated[
        str,
        typer.Argument(
            metavar="RUN|PIPELINE", help="A run's folder, a pipeline's, or owner/name on the Hub."
        ),
    ],
    out: Annotated[Path, typer.Option(help="A new folder for the checkpoints.")],
    num_samples: Annotated[int, typer.Option(min=1, help="How many networks.")] = 200,
    seed: Annotated[
        int, typer.Option(min=0, callback=known_seed, help="Of the first; the others count up.")
    ] = 0,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Scale about the training mean; below 1 contracts.")
    ] = None,
    num_inference_steps: Annotated[
        int | None, typer.Option(min=1, help="Denoiser steps per network.")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Ask for it: score=0.80, step=100, run=b."),
    ] = None,
    guidance_scale: Annotated[
        float | None,
        typer.Option(min=0, help="How much --condition counts; above 1 exaggerates it."),
    ] = None,
    energy: Annotated[
        str | None,
        typer.Option(
            metavar="SCORE",
            help="Pull towards a high score: loss, distance:CHECKPOINTS, or module:function from "
            "vectors [M, P] to scores [M] with a gradient.",
        ),
    ] = None,
    energy_scale: Annotated[
        float | None,
        typer.Option(
            help="How much a unit of the score counts, 1 by default; below 0 pushes away."
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="With --energy loss: the recipe whose task it is.")
    ] = None,
    base_checkpoint: Annotated[
        Path | None, typer.Option(help="A complete checkpoint for what is not generated.")
    ] = None,
    state_dict_key: StateDictKey = None,
    selected_only: Annotated[
        bool, typer.Option("--selected-only", help="Leave out the tensors that are not generated.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Generate networks from a saved pipeline, as complete checkpoints."""
    loading()
    from paramdiff.commands.generate import generate as generate_networks

    with progress_bars() as progress:
        generate_networks(
            pipeline,
            out,
            num=num_samples,
            seed=seed,
            temperature=temperature,
            num_inference_steps=num_inference_steps,
            condition=_asked_for(condition or []),
            guidance_scale=guidance_scale,
            energy=_pull(energy, energy_scale),
            recipe=recipe,
            base=base_checkpoint,
            entry=state_dict_key,
            selected_only=selected_only,
            device=device,
            progress=progress,
        )
    say(f"{num_samples} checkpoints in {out}")


def _pull(energy: str | None, scale: float | None) -> tuple[str, float] | None:
    from paramdiff.errors import UserError

    if energy is None:
        if scale is not None:
            raise UserError(f"--energy-scale: expected --energy beside it, found {scale:g} alone")
        return None
    return energy, 1.0 if scale is None else scale


def _asked_for(conditions: list[str]) -> dict[str, str]:
    from paramdiff.errors import UserError

    asked = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals:
            raise UserError(f"--condition: expected NAME=VALUE, found {condition!r}")
        if name in asked:
            raise UserError(f"--condition: expected {name} once, found it again as {value!r}")
        asked[name] = value
    return asked


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
    from paramdiff.commands.compare import evaluate_folders
    from paramdiff.commands.run_artifacts import generated_in, originals_in
    from paramdiff.commands.task_choice import asked_task
    from paramdiff.device import resolve_device
    from paramdiff.parallel import connected

    asked = asked_task(
        score_fn,
        task,
        data,
        network,
        image_size,
        score_validation=score_validation,
        standardize=standardize,
    )
    generated, originals = generated_in(generated, say), originals_in(originals, say)
    with connected(ray, resolve_device(device)) as fan_out, progress_bars() as progress:
        evaluation = evaluate_folders(
            originals,
            generated,
            asked,
            out,
            patterns=tuple(select or []),
            base=base_checkpoint,
            entry=state_dict_key,
            num_held_out=num_held_out,
            num_best=copy_best,
            seed=seed,
            recalibrate=recalibrate_batchnorm,
            device=device,
            fan_out=fan_out,
            progress=progress,
            say=say,
        )
    show_evaluation(evaluation)
    say(f"Report: {out / 'report.html'}")
    if copy_best:
        shared = evaluation.score_info.selects_on_test
        by = "by the reported scores themselves" if shared else "on validation data"
        say(f"The best {copy_best} {by}: {out / 'best'}")


def push(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|PIPELINE", help="A run's folder, or a pipeline's.")
    ],
    target: Annotated[str, typer.Argument(help="owner/name on the Hub, or a new folder.")],
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody see it; private by default.")
    ] = False,
) -> None:
    """Give a pipeline away with its card: to the Hugging Face Hub, or to a folder."""
    from paramdiff.commands.push import push as push_pipeline

    where = push_pipeline(source, target, is_public=public)
    say(f"Pipeline: {where}")
