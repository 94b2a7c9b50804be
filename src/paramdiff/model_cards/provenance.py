"""Which checkpoints a pipeline learned from."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paramdiff.checkpoints.formats import CheckpointFormat
from paramdiff.diffusion.diffusion_settings import Value
from paramdiff.methods.data_use import NO_DATA, DataUse
from paramdiff.model_cards.card import inline_code
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.zoo.learned_from import LearnedFrom
from paramdiff.zoo.zoo import CheckpointEntry, ZooIndex


@dataclass(frozen=True)
class Origin:
    """The checkpoints that were learned from.

    Attributes:
        hashes: name to SHA-256, in order; of the files as they came where they are somebody's.
        num_held_out: further checkpoints that trained nothing.
        num_runs: training runs that they come from, as far as is known.
    """

    hashes: dict[str, str]
    num_held_out: int
    num_runs: int

    @classmethod
    def of(cls, index: ZooIndex, num_originals: int | None = None) -> "Origin":
        """What a zoo's index tells about its first so many originals, or all."""
        originals = [entry for entry in index.checkpoints if not entry.held_out]
        learned = originals[:num_originals]
        return cls(
            hashes={_name(entry): entry.source_sha256 or entry.sha256 for entry in learned},
            num_held_out=len(index.checkpoints) - len(originals),
            num_runs=len({entry.run for entry in learned}),
        )

    @property
    def sha256(self) -> str:
        """One hash for all of them: of their hashes, one a line, in order."""
        return hashlib.sha256("\n".join(self.hashes.values()).encode()).hexdigest()

    @property
    def words(self) -> str:
        """How many there are, and how many runs made them."""
        runs = "one run" if self.num_runs == 1 else f"{self.num_runs} runs"
        told = f"{len(self.hashes)} checkpoints of {runs}"
        return f"{told}, and {self.num_held_out} held out" if self.num_held_out else told


def _name(entry: CheckpointEntry) -> str:
    return entry.source or entry.file


@dataclass(frozen=True)
class Provenance:
    """How networks were generated.

    Attributes:
        pipeline: its name.
        pipeline_sha256: of its folder.
        seeds: one per network.
        settings: label to value, see ``generation_settings``.
        checkpoint_format: how they are stored; None for safetensors of our own.
        checkpoints: what the pipeline learned from, where that is known.
        base: the checkpoint that completes them and its SHA-256, where it is not the pipeline's.
        selected_only: whether the tensors that are not generated are left out.
        data: the task data that they were made with; None where that is not known.
        learned_from: which checkpoints trained the pipeline, where that is known.
    """

    pipeline: str
    pipeline_sha256: str
    seeds: Sequence[int]
    settings: dict[str, str]
    checkpoint_format: CheckpointFormat | None
    checkpoints: str | None = None
    base: tuple[str, str] | None = None
    selected_only: bool = False
    data: DataUse | None = NO_DATA
    learned_from: LearnedFrom | None = None


def generation_settings(
    pipeline: ParameterDiffusionPipeline,
    num: int,
    *,
    num_inference_steps: int | None = None,
    temperature: float | None = None,
    condition: Mapping[str, Value] | None = None,
    guidance_scale: float | None = None,
    energy: str | None = None,
) -> dict[str, str]:
    """How a pipeline makes networks, in words.

    Args:
        pipeline: that makes them.
        num: how many networks it makes together.
        num_inference_steps: denoiser evaluations per network, where not the pipeline's own.
        temperature: scale about the training mean, where not the pipeline's own.
        condition: what was asked for.
        guidance_scale: how much that counts, where not the pipeline's own.
        energy: the score that they were pulled towards, in words.

    Returns:
        Label to value.
    """
    steps = (
        pipeline.config.num_inference_steps if num_inference_steps is None else num_inference_steps
    )
    solver = "none: latents are drawn from N(0, I)"
    if pipeline.scheduler is not None:
        solver = f"{steps} steps of diffusers' {type(pipeline.scheduler).__name__}"
    settings = {
        "Solver": solver,
        "Temperature": f"{pipeline.config.temperature if temperature is None else temperature:g}",
    }
    if condition:
        scale = pipeline.config.guidance_scale if guidance_scale is None else guidance_scale
        asked = ", ".join(inline_code(f"{name}={value}") for name, value in condition.items())
        settings["Asked for"] = f"{asked}, guidance scale {scale:g}"
    if energy is not None:
        settings["Energy"] = energy
    together = min(pipeline.config.batch_size, num)
    return settings | {"Batch": f"{together} networks at a time"}
