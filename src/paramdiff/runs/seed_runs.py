"""The generators of a run: one per generator seed, which share the zoo and nothing else.

The first lies in the run's root, further ones under ``seeds/``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.codecs.base import Codec
from paramdiff.errors import UserError
from paramdiff.evaluation.schema import Evaluation
from paramdiff.model_cards.provenance import Origin
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.processes import join
from paramdiff.progress import ignore_progress
from paramdiff.recipe.schema import Recipe
from paramdiff.runs.context import Context
from paramdiff.runs.folder import RunFolder
from paramdiff.runs.run_cards import write_cards
from paramdiff.runs.stages import (
    make_codec,
    make_denoiser,
    make_generated,
    make_pipeline,
    make_space,
    normalized_zoo,
    read_generated,
)
from paramdiff.zoo.zoo import Zoo


@dataclass(frozen=True)
class Generator:
    """What one generator seed gave.

    Attributes:
        recipe: of this seed alone.
        folder: of its artifacts.
        pipeline: what generates.
        checked: what the check of the codec found; None where it was not asked, or is long past.
    """

    recipe: Recipe
    folder: RunFolder
    pipeline: ParameterDiffusionPipeline
    checked: str | None = None

    @cached_property
    def generated(self) -> Tensor:
        """The raw vectors ``[M, P]`` of its networks, read when they are asked for."""
        return read_generated(self.folder, self.pipeline.parameter_space.layout)

    def write_cards(self, zoo: Zoo, evaluation: Evaluation | None = None) -> None:
        """Tell beside its pipeline and its networks how they were made, and what was found."""
        write_cards(self.recipe, self.folder, self.pipeline, Origin.of(zoo.index), evaluation)


Check = Callable[[Recipe, Zoo, ParameterSpace, Codec, Tensor], str]
"""Recipe, zoo, space, codec and normalized vectors to what was found; stops by a ``UserError``."""


def train_generators(
    context: Context, zoo: Zoo, reuse: Path | None, check: Check | None = None
) -> list[Generator]:
    """Make codec, denoiser and generated networks for each seed, where they are not there yet.

    Args:
        context: of the run.
        zoo: what all of them learn from.
        reuse: another run's folder, whose matching stages are copied.
        check: asked before a denoiser is trained; not by workers.

    Returns:
        One generator per seed, side by side on workers where there are any.
    """
    numbers = range(len(context.recipe.generator_seeds))
    if context.fan_out is not None and len(numbers) > 1:
        # each leaves its artifacts where they are looked for below
        root, other = context.folder.root, None if reuse is None else Path(reuse).absolute()
        job = context.fan_out.job(_finish_generator, context.recipe, root, context.device, other)
        job.run(numbers, partial(context.progress, "training generators"))
    return [_train_generator(context, zoo, reuse, check, number) for number in numbers]


def _finish_generator(
    recipe: Recipe, root: Path, device: torch.device, reuse: Path | None
) -> Callable[[int], None]:
    context = Context(recipe, RunFolder(root), device, ignore_progress, join(device))
    stage = "alignment" if recipe.parameters.align else "zoo"
    zoo = Zoo.load(context.folder.artifact(stage)).first(recipe.parameters.num_checkpoints)

    def finish(number: int) -> None:
        _train_generator(context, zoo, reuse, None, number)

    return finish


def _train_generator(
    context: Context, zoo: Zoo, reuse: Path | None, check: Check | None, number: int
) -> Generator:
    recipe, folder = context.recipe.of_generator(number), context.folder
    if number:
        folder = folder.of_generator(context.recipe.generator_seeds[number])
    own = replace(context, recipe=recipe, folder=folder)
    with context.processes.main_process_first():
        if number:
            folder.claim(recipe)
            other = (
                None if reuse is None else RunFolder(reuse).of_generator(recipe.generator_seeds[0])
            )
            if other is not None and other.root.is_dir():
                folder.reuse(other, recipe)
        space = make_space(own, zoo)
        vectors = normalized_zoo(own, zoo, space)
    codec = make_codec(own, space, vectors)
    checked = None
    if check is not None and not folder.is_past("codec"):
        with context.processes.main_process_first():
            try:
                checked = check(recipe, zoo, space, codec, vectors)
            except UserError:
                if context.processes.is_main_process:
                    folder.finish()  # what is there is whole
                raise
    denoiser = make_denoiser(own, zoo, space, codec, vectors)
    with context.processes.main_process_first():
        pipeline = make_pipeline(own, space, codec, denoiser)
        make_generated(own, pipeline, zoo)
    return Generator(recipe, folder, pipeline, checked)
