"""The context of a run's stages: recipe, folder, and artifacts loaded on demand."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from accelerate import PartialState
from torch import Tensor

from paramdiff.checkpoints.sources import find_runs
from paramdiff.codecs.base import Codec
from paramdiff.codecs.registry import CODECS
from paramdiff.diffusion.denoisers.base import Denoiser
from paramdiff.diffusion.denoisers.registry import DENOISERS
from paramdiff.diffusion.schedule import build_scheduler
from paramdiff.memmap import map_rows
from paramdiff.parallel import FanOut
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.progress import StageProgress
from paramdiff.random import seeded_generator
from paramdiff.recipe.schema import Recipe
from paramdiff.runs.folder import RunFolder
from paramdiff.runs.generated_folder import read_vectors
from paramdiff.tasks.base import Task
from paramdiff.tasks.registry import build_task
from paramdiff.zoo.metadata import ZooConditions, zoo_conditions
from paramdiff.zoo.zoo import Zoo


@dataclass(frozen=True)
class RunContext:
    """A run in progress, in one of its processes.

    Attributes:
        recipe: of the run.
        folder: of its artifacts.
        device: where to compute.
        progress: called with each stage's progress.
        processes: of this launch.
        fan_out: Ray workers; None without a cluster.
        prediction_cache: a folder of predictions that several runs share; None without one.
    """

    recipe: Recipe
    folder: RunFolder
    device: torch.device
    progress: StageProgress
    processes: PartialState
    fan_out: FanOut | None = None
    prediction_cache: Path | None = None

    @cached_property
    def task(self) -> Task | None:
        """The recipe's task; None for checkpoints without one."""
        return None if self.recipe.task is None else build_task(self.recipe.task)

    @cached_property
    def zoo(self) -> Zoo:
        """The checkpoints to learn from, aligned if the recipe says so."""
        artifact = "aligned" if self.recipe.parameters.align else "zoo"
        zoo = Zoo.load(self.folder.artifact(artifact))
        return zoo.first(self.recipe.parameters.num_checkpoints)

    @cached_property
    def conditions(self) -> ZooConditions:
        """The denoiser's condition values of each checkpoint.

        A ``UserError`` says which are not known; see ``zoo_conditions``.
        """
        names = () if self.recipe.diffusion is None else self.recipe.diffusion.conditions
        return zoo_conditions(names, self.zoo, self.folder.artifact("zoo"))

    @cached_property
    def seed_runs(self) -> tuple["SeedRun", ...]:
        """One per generator seed; the first lies in the run's root, others under ``seeds/``."""
        return tuple(SeedRun(self, number) for number in range(len(self.recipe.generator_seeds)))

    @property
    def scratch(self) -> Path:
        """An existing folder for unfinished work."""
        return _existing(self.folder.state)


@dataclass(frozen=True)
class SeedRun:
    """The part of a run that belongs to one generator seed.

    Attributes:
        run: the whole.
        number: index of the generator seed.
    """

    run: RunContext
    number: int

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of this seed alone."""
        return self.run.recipe.of_generator(self.number)

    @cached_property
    def folder(self) -> RunFolder:
        """The folder of this seed's artifacts."""
        root = self.run.folder
        return root.of_seed(self.run.recipe.generator_seeds[self.number]) if self.number else root

    @property
    def device(self) -> torch.device:
        """Device to compute on."""
        return self.run.device

    @property
    def progress(self) -> StageProgress:
        """The callback of the run."""
        return self.run.progress

    @property
    def processes(self) -> PartialState:
        """The processes of this launch."""
        return self.run.processes

    @property
    def zoo(self) -> Zoo:
        """The checkpoints to learn from."""
        return self.run.zoo

    def state_file(self, name: str) -> Path:
        """Return the file of a stage's unfinished work, in an existing folder."""
        return _existing(self.folder.state) / name

    def random_seed(self, purpose: str) -> int:
        """Derive a seed for one purpose from the generator seed."""
        return seeded_generator(self.recipe.generator_seeds[0], purpose).initial_seed() % 2**31

    @cached_property
    def space(self) -> ParameterSpace:
        """The normalization."""
        return ParameterSpace.from_pretrained(self.folder.artifact("pipeline/parameter_space"))

    @cached_property
    def vectors(self) -> Tensor:
        """The originals' normalized vectors ``[N, length]``; memory-mapped if too large."""
        space, scratch = self.space, _existing(self.folder.state)
        return map_rows(self.zoo.originals, space.normalize, space.padded_length, scratch)

    @cached_property
    def codec(self) -> Codec:
        """The trained codec."""
        kind = CODECS[self.recipe.codec.kind]
        return kind.from_pretrained(self.folder.artifact("pipeline/codec"))

    @cached_property
    def denoiser(self) -> Denoiser | None:
        """The trained denoiser; None if the recipe samples the codec's prior."""
        if self.recipe.diffusion is None:
            return None
        kind = DENOISERS[self.recipe.diffusion.denoiser.kind]
        return kind.from_pretrained(self.folder.artifact("pipeline/denoiser"))

    @cached_property
    def pipeline(self) -> ParameterDiffusionPipeline:
        """The parts put together, on the device."""
        recipe, diffusion, settings = self.recipe, self.recipe.diffusion, self.recipe.generation
        is_whitened = recipe.codec.is_whitened
        return ParameterDiffusionPipeline(
            self.space,
            self.codec,
            self.denoiser,
            None if diffusion is None else build_scheduler(diffusion.schedule, settings.solver),
            statistics=recipe.codec.decoding_statistics,
            standardize=not is_whitened if diffusion is None else diffusion.standardize,
            num_inference_steps=settings.num_inference_steps,
            temperature=settings.temperature,
            guidance_scale=settings.guidance_scale,
            batch_size=settings.batch_size,
        ).to(self.device)

    @cached_property
    def generated(self) -> Tensor:
        """The raw vectors ``[M, P]`` of the generated networks, in memory."""
        (written,) = find_runs([str(self.folder.artifact("generated"))])
        return read_vectors(written, self.space.layout)


def _existing(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
