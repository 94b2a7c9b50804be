"""``paramdiff generate``: its options."""

from pathlib import Path
from typing import Annotated

import typer

from paramdiff.cli._console import loading, progress_bars, say
from paramdiff.cli._options import Device, StateDictKey, known_seed
from paramdiff.errors import UserError


def generate(
    pipeline: Annotated[
        str,
        typer.Argument(
            metavar="RUN|PIPELINE", help="A run's folder, a pipeline's, or owner/name on the Hub."
        ),
    ],
    out: Annotated[Path, typer.Option(help="A new folder for the checkpoints.")],
    num_samples: Annotated[int, typer.Option(min=1, help="Number of networks.")] = 200,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            callback=known_seed,
            help="Random seed of the first network; the others count up.",
        ),
    ] = 0,
    temperature: Annotated[
        float | None,
        typer.Option(min=0, help="Scale of latents about their mean; below 1 contracts."),
    ] = None,
    num_inference_steps: Annotated[
        int | None, typer.Option(min=1, help="Denoiser steps per network.")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Condition to generate for: score=0.80, step=100, run=b."
        ),
    ] = None,
    guidance_scale: Annotated[
        float | None,
        typer.Option(min=0, help="Weight of --condition; above 1 exaggerates it."),
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
        typer.Option(help="Weight of the energy, 1 by default; below 0 pushes away."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="With --energy loss: the recipe whose task it is.")
    ] = None,
    base_checkpoint: Annotated[
        Path | None,
        typer.Option(help="A complete checkpoint for the tensors that are not generated."),
    ] = None,
    state_dict_key: StateDictKey = None,
    selected_only: Annotated[
        bool, typer.Option("--selected-only", help="Leave out the tensors that are not generated.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Generate networks from a saved pipeline, as complete checkpoints."""
    loading()
    import paramdiff

    with progress_bars() as progress:
        paramdiff.generate(
            pipeline,
            out,
            num_samples=num_samples,
            seed=seed,
            temperature=temperature,
            num_inference_steps=num_inference_steps,
            condition=_parse_conditions(condition or []),
            guidance_scale=guidance_scale,
            energy=energy,
            energy_scale=energy_scale,
            recipe=recipe,
            base_checkpoint=base_checkpoint,
            state_dict_key=state_dict_key,
            selected_only=selected_only,
            device=device,
            progress=progress,
        )
    say(f"{num_samples} checkpoints in {out}")


def _parse_conditions(conditions: list[str]) -> dict[str, str]:
    asked = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals:
            raise UserError(f"--condition: expected NAME=VALUE, found {condition!r}")
        if name in asked:
            raise UserError(f"--condition: expected {name} once, found it again as {value!r}")
        asked[name] = value
    return asked
