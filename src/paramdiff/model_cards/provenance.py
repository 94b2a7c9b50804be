"""Provenance of pipelines and generated networks, for model cards."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paramdiff.checkpoints.formats import CheckpointFormat
from paramdiff.diffusion.diffusion_settings import Value
from paramdiff.methods.data_use import NO_DATA, DataUse
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.zoo.learned_from import LearnedFrom
from paramdiff.zoo.zoo import CheckpointEntry, ZooIndex


@dataclass(frozen=True)
class Origin:
    """The training checkpoints of a pipeline.

    Attributes:
        hashes: name to SHA-256, in order; of the source files if they were imported.
        num_held_out: number of held-out checkpoints.
        num_runs: number of training runs, as far as known.
    """

    hashes: dict[str, str]
    num_held_out: int
    num_runs: int

    @classmethod
    def of(cls, index: ZooIndex, num_originals: int | None = None) -> "Origin":
        """Read the origin from a zoo's index, for its first originals or all of them."""
        originals = [entry for entry in index.checkpoints if not entry.held_out]
        learned = originals[:num_originals]
        return cls(
            hashes={_name(entry): entry.source_sha256 or entry.sha256 for entry in learned},
            num_held_out=len(index.checkpoints) - len(originals),
            num_runs=len({entry.run for entry in learned}),
        )

    @property
    def sha256(self) -> str:
        """Hash of the list of hashes, one per line, in order."""
        return hashlib.sha256("\n".join(self.hashes.values()).encode()).hexdigest()

    @property
    def description(self) -> str:
        """One-line summary of their number and runs."""
        runs = "one run" if self.num_runs == 1 else f"{self.num_runs} runs"
        num = len(self.hashes)
        text = f"{num} checkpoint{'' if num == 1 else 's'} of {runs}"
        return f"{text}, and {self.num_held_out} held out" if self.num_held_out else text


def _name(entry: CheckpointEntry) -> str:
    return entry.source or entry.file


@dataclass(frozen=True)
class Provenance:
    """Provenance of generated networks.

    Attributes:
        pipeline: name of the pipeline.
        pipeline_sha256: hash of its folder.
        seeds: one per network.
        settings: label to value, see ``generation_settings``.
        checkpoint_format: format of the networks; None for our safetensors files.
        checkpoints: description of the training checkpoints, if known.
        base: checkpoint that completes the networks and its SHA-256, if not the pipeline's.
        selected_only: True if only the generated tensors are stored.
        data: task data used by the generator; None if unknown.
        learned_from: record of the training checkpoints, if known.
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
    """Describe the settings with which a pipeline generates networks.

    Args:
        pipeline: the pipeline.
        num: number of networks per call.
        num_inference_steps: denoiser evaluations per network; None: the pipeline's.
        temperature: scale of latents about the training mean; None: the pipeline's.
        condition: requested conditions.
        guidance_scale: scale of classifier-free guidance; None: the pipeline's.
        energy: description of the guiding energy.

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
        requested = ", ".join(inline_code(f"{name}={value}") for name, value in condition.items())
        settings["Condition"] = f"{requested}, guidance scale {scale:g}"
    if energy is not None:
        settings["Energy"] = energy
    together = min(pipeline.config.batch_size, num)
    return settings | {"Batch": f"{together} networks at a time"}


def inline_code(text: str) -> str:
    """Quote arbitrary text as a Markdown code span that fits into a table cell."""
    plain = " ".join(str(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`"
