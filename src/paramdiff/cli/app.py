"""The verbs. Heavy libraries load inside them, so that ``--help`` answers at once."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from paramdiff.cli.console import (
    Stages,
    console,
    errors,
    progress_bars,
    show_evaluation,
    show_exhibits,
    show_facts,
    show_inspection,
    show_recipes,
    show_sweep,
)
from paramdiff.cli.verbs import Verbs
from paramdiff.errors import UserError

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From trained checkpoints to new networks, and an honest report of what they are worth.",
)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
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


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("runs/quickstart"),
    device: Device = "auto",
    overrides: Overrides = None,
    reuse: Reuse = None,
) -> None:
    """Generate networks for scikit-learn's digits: data, training and report in about a minute."""
    _run("quickstart", out, device, overrides, reuse)


@app.command()
def run(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    device: Device = "auto",
    overrides: Overrides = None,
    reuse: Reuse = None,
    ray: Ray = None,
) -> None:
    """Run a recipe to its report; the same command completes an interrupted run."""
    _run(recipe, out, device, overrides, reuse, ray)


@app.command()
def sweep(
    recipes: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE",
            help="Recipes, patterns of names ('ablation/noise_*'), or tables and figures of the "
            "paper: table3a, 'figure*'.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Holds one folder per recipe, and the comparison.")],
    device: Device = "auto",
    overrides: Overrides = None,
    vary: Annotated[
        str | None,
        typer.Option(metavar="PATH=VALUE,VALUE,...", help="Run one recipe once per value."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE", help="What ablations change, instead of the recipe they extend."
        ),
    ] = None,
    ray: Ray = None,
) -> None:
    """Run several recipes, sharing equal stages, and compare them; the same command resumes."""
    from contextlib import contextmanager

    from paramdiff.engine import resolve_device
    from paramdiff.experiment.entries import asked_for, plan_sweep
    from paramdiff.experiment.sweep import run_sweep
    from paramdiff.fanout import connected
    from paramdiff.report.sweep import SWEEP_PAGE

    entries = plan_sweep(recipes, overrides or [], vary, base)

    @contextmanager
    def watch(name: str) -> Iterator[Stages]:
        console.print(f"[bold]{escape(name)}[/bold]")
        with progress_bars() as stages:
            yield stages

    with connected(ray, resolve_device(device)) as fan_out:
        finished = run_sweep(
            entries, out, device=device, watch=watch, asked=asked_for(recipes), fan_out=fan_out
        )
    show_sweep(finished)
    console.print(f"Comparison: {out / SWEEP_PAGE}", markup=False)
    failed = [row for row in finished.rows if row.failure is not None]
    for row in failed:
        errors.print(
            f"failed: {row.name}: {row.failure}", markup=False, highlight=False, soft_wrap=True
        )
    if failed:
        raise typer.Exit(1)


@app.command()
def check(recipe: RecipeName, overrides: Overrides = None) -> None:
    """Resolve and validate a recipe; print it with its sizes and its cost; run nothing."""
    from paramdiff.experiment.check import check_recipe
    from paramdiff.recipe import load_recipe, to_yaml
    from paramdiff.tasks.catalogue import describe_task

    resolved = load_recipe(recipe, overrides or [])
    description = None if resolved.task is None else describe_task(resolved.task)
    sizes = check_recipe(resolved, description)
    typer.echo(to_yaml(resolved), nl=False)
    for label, value in sizes.items():
        typer.echo(f"# {label}: {value}")


@app.command()
def inspect(
    checkpoints: Checkpoints,
    entry: Entry = None,
    all_tensors: Annotated[
        bool, typer.Option("--all", help="Show the tensors that are equal, too.")
    ] = False,
) -> None:
    """Tell what a set of checkpoints is: what differs, what is broken, what would be generated."""
    from paramdiff.experiment.inspect import inspect_checkpoints

    with progress_bars() as stages:
        inspection = inspect_checkpoints(
            checkpoints,
            entry=entry,
            progress=lambda done, total: stages("reading checkpoints", done, total),
        )
    show_inspection(inspection, all_tensors=all_tensors)


@app.command()
def fit(
    checkpoints: Checkpoints,
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    select: Annotated[
        list[str] | None,
        typer.Option(help="Tensors to generate, as a glob; by default all that differ."),
    ] = None,
    buffers: Annotated[
        bool, typer.Option("--buffers", help="Let --select match normalisation statistics, too.")
    ] = False,
    base: Annotated[
        Path | None, typer.Option(help="A complete checkpoint for what is not selected.")
    ] = None,
    entry: Entry = None,
    num: Annotated[int, typer.Option(min=1, help="How many networks to generate.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 0,
    device: Device = "auto",
    overrides: Overrides = None,
) -> None:
    """Learn from checkpoints, whatever made them, and write new ones in the same format."""
    from paramdiff.experiment.fit import plan_fit
    from paramdiff.experiment.run import make_networks

    with progress_bars() as stages:
        plan = plan_fit(
            checkpoints,
            name=out.name,
            patterns=select or [],
            with_buffers=buffers,
            base=base,
            entry=entry,
            num_samples=num,
            seed=seed,
            overrides=overrides or [],
            progress=lambda done, total: stages("reading checkpoints", done, total),
        )
    show_facts(plan.facts, plan.warnings)
    with progress_bars() as stages:
        made = make_networks(plan.recipe, out, device=device, report=stages)
    made.finish()
    console.print(f"{num} checkpoints in {out / 'generated'}", markup=False)
    console.print(f"More of them: paramdiff generate {out / 'pipeline'} --out DIR", markup=False)


@app.command()
def generate(
    pipeline: Annotated[
        str, typer.Argument(help="A pipeline's folder, or owner/name on the Hub.")
    ],
    out: Annotated[Path, typer.Option(help="A new folder for the checkpoints.")],
    num: Annotated[int, typer.Option(min=1, help="How many networks.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the first; the others count up.")] = 0,
    spread: Annotated[
        float | None, typer.Option(min=0, help="Scale about the training mean; below 1 contracts.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoiser steps per network.")] = None,
    selected_only: Annotated[
        bool, typer.Option("--selected-only", help="Leave out the tensors that are not generated.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Generate networks from a saved pipeline, as complete checkpoints."""
    from diffusers.utils import logging

    from paramdiff.artefacts import sha256_of
    from paramdiff.engine import resolve_device
    from paramdiff.experiment.generated import write_generated
    from paramdiff.pipeline import ParameterDiffusionPipeline
    from paramdiff.processes import refuse_several

    target = resolve_device(device)
    refuse_several(target, "generate")
    if out.exists():
        raise UserError(f"--out {out}: expected a new folder, found an existing one")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    loaded = ParameterDiffusionPipeline.from_pretrained(pipeline).to(target)
    total = -(-num // min(loaded.config.batch_size, num)) * (steps or loaded.config.num_steps)
    with progress_bars() as report:
        done = iter(range(1, total + 1))
        networks = loaded(
            range(seed, seed + num),
            num_steps=steps,
            spread=spread,
            progress=lambda: report("generating networks", next(done), total),
        )
        origin = Path(pipeline)
        digest = sha256_of(origin) if origin.is_dir() else pipeline
        write_generated(out, networks, digest, selected_only=selected_only)
    console.print(f"{num} checkpoints in {out}", markup=False)


@app.command()
def evaluate(
    generated: Annotated[
        str, typer.Argument(help="The checkpoints to judge: a folder, or a glob.")
    ],
    originals: Annotated[str, typer.Option(help="A zoo, or the checkpoints to judge against.")],
    out: Annotated[Path, typer.Option(help="A new folder for the report.")],
    task: Annotated[
        str | None, typer.Option(help="A task's name, or module:function that returns one.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A set's name, or imagefolder:PATH, npz:PATH, mnist:PATH.")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="With --data: timm:NAME, torchvision:NAME, or module:function."),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Pixels per side of the network's input.")
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(help="module:function from a state dict to a number, or to what is right."),
    ] = None,
    select: Annotated[
        list[str] | None, typer.Option(help="Tensors to compare; all by default.")
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="A complete checkpoint, where the originals are parts.")
    ] = None,
    entry: Entry = None,
    num_held_out: Annotated[
        int, typer.Option(min=0, help="Originals of the tail to hold out.")
    ] = 0,
    keep_best: Annotated[
        int, typer.Option(min=0, help="Copy so many, the best on validation data, to best/.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of baselines and intervals.")] = 0,
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
    from paramdiff.engine import resolve_device
    from paramdiff.experiment.folders import evaluate_folders
    from paramdiff.fanout import connected
    from paramdiff.tasks.command_line import task_settings

    if score is not None and not task == data == network is None:
        raise UserError("expected one of --task, --data and --score")
    asked = score if score is not None else task_settings(task, data, network, image_size)
    with connected(ray, resolve_device(device)) as fan_out, progress_bars() as report:
        evaluation = evaluate_folders(
            originals,
            generated,
            asked,
            out,
            patterns=tuple(select or ["*"]),
            base=base,
            entry=entry,
            num_held_out=num_held_out,
            num_best=keep_best,
            seed=seed,
            recalibrate=recalibrate_batchnorm,
            device=device,
            fan_out=fan_out,
            report=report,
        )
    show_evaluation(evaluation)
    console.print(f"Report: {out / 'report.html'}", markup=False)
    if keep_best:
        console.print(f"The best {keep_best} on validation data: {out / 'best'}", markup=False)


@app.command()
def report(
    run: Annotated[
        Path, typer.Argument(help="A folder with evaluation.json, or a sweep's with sweep.json.")
    ],
) -> None:
    """Draw a run's report, or a sweep's comparison, again from its numbers."""
    from paramdiff.report.page import write_report
    from paramdiff.report.sweep import SWEEP_FILE

    if (run / SWEEP_FILE).is_file():
        from paramdiff.experiment.sweep import redraw_sweep

        console.print(f"Comparison: {redraw_sweep(run)}", markup=False)
        return
    console.print(f"Report: {write_report(run)}", markup=False)


@app.command()
def recipes() -> None:
    """List the shipped recipes, and the paper's tables and figures that `sweep` makes of them."""
    from paramdiff.recipe.exhibits import load_exhibits
    from paramdiff.recipe.listing import list_recipes

    show_recipes(list_recipes())
    show_exhibits(list(load_exhibits().values()))


def _run(
    name: str,
    out: Path,
    device: str,
    overrides: list[str] | None,
    reuse: Path | None,
    ray: str | None = None,
) -> None:
    from paramdiff.engine import resolve_device
    from paramdiff.experiment.run import run as run_recipe
    from paramdiff.fanout import connected
    from paramdiff.recipe import load_recipe

    recipe = load_recipe(name, overrides or [])
    with connected(ray, resolve_device(device)) as fan_out, progress_bars() as stages:
        evaluation = run_recipe(
            recipe, out, device=device, reuse=reuse, fan_out=fan_out, report=stages
        )
    show_evaluation(evaluation)
    console.print(f"Report: {out / 'report.html'}", markup=False)


def main() -> None:
    """Run the command line."""
    warnings.showwarning = _show_warning
    app()


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if category is UserWarning and not console.quiet:
        errors.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)
