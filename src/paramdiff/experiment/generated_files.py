"""Generated networks on disk: one checkpoint each."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.artefacts import CARD_FILE, write_tensors, write_text, written_aside
from paramdiff.cards.generated_card import Making, generated_card
from paramdiff.cards.writing import inline_code
from paramdiff.checkpoints.stored import StoredCheckpoint, write_checkpoint
from paramdiff.diffusion.conditions import Value
from paramdiff.evaluation.data_use import NO_DATA, DataUse
from paramdiff.generated import GeneratedParameters
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.pipeline import ParameterDiffusionPipeline


def write_generated(folder: Path, generated: GeneratedParameters, making: Making) -> None:
    """Write state dicts in the form that the learned checkpoints have, safetensors otherwise.

    A checkpoint that is one safetensors file has its seed and the pipeline's hash as metadata. A
    card lies beside the checkpoints.

    Args:
        folder: where; must not exist yet.
        generated: the networks.
        making: how they were generated.
    """
    form = generated.form
    origin = {"pipeline_sha256": making.pipeline_sha256}
    if making.base is not None:
        origin["base_sha256"] = making.base[1]
    with written_aside(folder) as aside:
        aside.mkdir()
        for number, (seed, state_dict) in enumerate(zip(generated.seeds, generated, strict=True)):
            metadata = {"seed": seed, **origin}
            tensors = (
                {name: state_dict[name] for name in generated.names}
                if making.selected_only
                else state_dict
            )
            if form is None:
                write_tensors(aside / f"{number:04d}.safetensors", tensors, metadata)
            else:
                write_checkpoint(aside / f"{number:04d}{form.suffix}", tensors, form, metadata)
        write_text(aside / CARD_FILE, generated_card(making))


def making_of(
    pipeline: ParameterDiffusionPipeline,
    name: str,
    pipeline_sha256: str,
    seeds: Sequence[int],
    *,
    num_steps: int | None = None,
    spread: float | None = None,
    condition: Mapping[str, Value] | None = None,
    guidance_scale: float | None = None,
    guide: str | None = None,
    checkpoints: str | None = None,
    base: tuple[str, str] | None = None,
    selected_only: bool = False,
    data: DataUse | None = NO_DATA,
) -> Making:
    """How a pipeline makes networks.

    Args:
        pipeline: that makes them.
        name: what it is called.
        pipeline_sha256: of its folder.
        seeds: one per network.
        num_steps: denoiser evaluations per network, where not the pipeline's own.
        spread: scale about the training mean, where not the pipeline's own.
        condition: what was asked for.
        guidance_scale: how much that counts, where not the pipeline's own.
        guide: the score that they were pulled towards, in words.
        checkpoints: what it learned from, in words.
        base: name and SHA-256 of the checkpoint that completes them, where not the pipeline's own.
        selected_only: whether the tensors that are not generated are left out.
        data: the task data that they were made with; None where that is not known.

    Returns:
        What a card needs to know.
    """
    steps = pipeline.config.num_steps if num_steps is None else num_steps
    solver = "none: latents are drawn from N(0, I)"
    if pipeline.scheduler is not None:
        solver = f"{steps} steps of diffusers' {type(pipeline.scheduler).__name__}"
    guided = {}
    if condition:
        scale = pipeline.config.guidance_scale if guidance_scale is None else guidance_scale
        asked = ", ".join(inline_code(f"{name}={value}") for name, value in condition.items())
        guided["Asked for"] = f"{asked}, guidance scale {scale:g}"
    if guide is not None:
        guided["Guide"] = guide
    return Making(
        pipeline=name,
        pipeline_sha256=pipeline_sha256,
        seeds=seeds,
        settings={
            "Solver": solver,
            "Spread": f"{pipeline.config.spread if spread is None else spread:g}",
            **guided,
            "Batch": f"{min(pipeline.config.batch_size, len(seeds))} networks at a time",
        },
        form=pipeline.parameter_space.form,
        checkpoints=checkpoints,
        base=base,
        selected_only=selected_only,
        data=data,
    )


def read_vectors(
    checkpoints: Sequence[StoredCheckpoint], layout: ParameterLayout, entry: str | None = None
) -> Tensor:
    """The raw vectors ``[M, P]`` of checkpoints.

    Args:
        checkpoints: complete or partial ones; tensors outside the layout are ignored.
        layout: where each tensor lies in a vector.
        entry: the key of the state dict, where a file holds several.

    Returns:
        One row per checkpoint.

    Raises:
        UserError: a file cannot be read or does not fit the layout.
    """
    return torch.stack([layout.flatten(one.read(entry)[0], str(one.path)) for one in checkpoints])
