"""One function per stage, each from the artifacts before it to its own."""

import time
import warnings
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.checkpoints.sources import find_runs
from paramdiff.codecs.base import Codec, encode_all
from paramdiff.codecs.registry import CODECS, fit_codec
from paramdiff.diffusion.denoisers.base import Denoiser
from paramdiff.diffusion.denoisers.registry import DENOISERS
from paramdiff.diffusion.schedule import build_scheduler
from paramdiff.diffusion.training import DiffusionSettings, LatentBatch, train_denoiser
from paramdiff.memmap import map_rows
from paramdiff.model_cards.provenance import Origin
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.pipeline_io import INDEX_FILE
from paramdiff.recipe import FolderSettings, Recipe
from paramdiff.runs.context import Context
from paramdiff.runs.folder import RunFolder
from paramdiff.runs.generated_folder import read_vectors, write_generated
from paramdiff.runs.run_cards import provenance_in_run
from paramdiff.runs.training_examples import training_examples
from paramdiff.runs.validation import build_watcher
from paramdiff.storage import remove, written_aside
from paramdiff.tasks.base import AnyTask
from paramdiff.tasks.registry import build_task
from paramdiff.zoo.collect import collect
from paramdiff.zoo.import_checkpoints import import_checkpoints, refuse_changed
from paramdiff.zoo.learned_from import LearnedFrom
from paramdiff.zoo.metadata import SCORES_FILE, ZooConditions, write_scores, zoo_conditions
from paramdiff.zoo.zoo import Zoo


def make_zoo(context: Context, task: AnyTask | None) -> Zoo:
    """Collect or import the checkpoints, and score them on validation data where there are any."""
    folder = context.folder.artifact("zoo")
    source = context.recipe.collection
    if folder.exists() and isinstance(source, FolderSettings):
        refuse_changed(source.checkpoints, folder)
    if (folder if task is None else folder / SCORES_FILE).exists():
        return Zoo.load(folder)
    with context.timed("zoo"):
        if not folder.exists():
            _collect_or_import(context, task, folder)
        zoo = Zoo.load(folder)
        if task is not None:
            write_scores(folder, zoo, task, context.device)
    return zoo


def _collect_or_import(context: Context, task: AnyTask | None, folder: Path) -> None:
    recipe = context.recipe
    patterns, source = recipe.parameters.select, recipe.collection
    if isinstance(source, FolderSettings):
        imported = import_checkpoints(
            source.checkpoints,
            folder,
            patterns,
            base=source.base_checkpoint,
            num_held_out=source.num_held_out,
            spaced=source.hold_out == "spaced",
            state_dict_key=source.state_dict_key,
        )
        for note in imported.notes if task is not None else ():  # else the plan has told it
            warnings.warn(note, stacklevel=2)
    else:
        assert task is not None  # a recipe that trains has one
        collect(
            task,
            patterns,
            source,
            seed=recipe.seed,
            device=context.device,
            zoo_folder=folder,
            state_folder=context.state("zoo"),
            progress=context.progress,
            fan_out=context.fan_out,
        )


def make_space(context: Context, zoo: Zoo) -> ParameterSpace:
    """Fit the normalization."""
    folder = context.folder.artifact("parameter space")
    if not folder.exists():
        with context.timed("parameter space"):
            mode = context.recipe.parameters.normalization
            space = ParameterSpace.fit(
                zoo.originals, zoo.layout, zoo.base, mode, zoo.index.checkpoint_format
            )
            with written_aside(folder) as aside:
                space.save_pretrained(aside)
                learned_from = LearnedFrom.of(zoo.index)
                if learned_from is not None:
                    learned_from.write(aside)
    return ParameterSpace.from_pretrained(folder)


def normalized_zoo(context: Context, zoo: Zoo, space: ParameterSpace) -> Tensor:
    """The originals' normalized vectors ``[N, length]``; memory-mapped where too large."""
    return map_rows(zoo.originals, space.normalize, space.padded_length, context.scratch)


def make_codec(context: Context, space: ParameterSpace, vectors: Tensor) -> Codec:
    """Train the codec and remember its latents' moments."""
    folder, settings = context.folder.artifact("codec"), context.recipe.codec
    examples = None
    if _is_missing(context, folder):
        started = time.monotonic()
        if settings.learns_from is not None:
            assert context.recipe.task is not None  # build_parts refuses such recipes
            task = build_task(context.recipe.task)
            examples = training_examples(task, space, context.device)
        codec, result = fit_codec(
            vectors,
            settings,
            seed=context.seed("codec"),
            device=context.device,
            examples=examples,
            state_file=context.state("codec.pt"),
            progress=partial(context.progress, "training the codec"),
        )
        with context.processes.main_process_first():
            if context.processes.is_main_process:
                codec.fit_latent_moments(encode_all(codec, vectors))
                seconds = result.seconds or time.monotonic() - started
                context.folder.log.record("codec", seconds, result.losses)
                with written_aside(folder) as aside:
                    codec.save_pretrained(aside)
    return CODECS[settings.kind].from_pretrained(folder)


def make_denoiser(
    context: Context, zoo: Zoo, space: ParameterSpace, codec: Codec, vectors: Tensor
) -> Denoiser | None:
    """Train the denoiser on the zoo's latents; none where the recipe samples the codec's prior."""
    folder, settings = context.folder.artifact("denoiser"), context.recipe.diffusion
    if settings is None:
        return None
    if _is_missing(context, folder):
        notes: list[str] = []
        seed = context.seed("denoiser")
        known = conditions_of(context.recipe, zoo, context.folder)
        denoiser, result = train_denoiser(
            _latent_batches(context, settings, codec, vectors, known.originals),
            codec.latent_dim,
            settings,
            seed=seed,
            device=context.device,
            conditions=known.conditions,
            state_file=context.state("denoiser.pt"),
            progress=lambda done, total: context.progress(
                "training the denoiser", done, total, *notes[-1:]
            ),
            watcher=build_watcher(
                context.recipe,
                zoo,
                space,
                codec,
                vectors,
                known.held_out,
                seed=seed,
                device=context.device,
                told=notes.append,
            ),
        )
        with context.processes.main_process_first():
            if context.processes.is_main_process:
                context.folder.log.record("denoiser", result.seconds, result.losses, result.looks)
                with written_aside(folder) as aside:
                    denoiser.save_pretrained(aside)
        codec.to("cpu")
    return DENOISERS[settings.denoiser.kind].from_pretrained(folder)


def conditions_of(recipe: Recipe, zoo: Zoo, folder: RunFolder) -> ZooConditions:
    """What a recipe's denoiser is told of each checkpoint of its zoo.

    Args:
        recipe: the run's.
        zoo: what is learned from, aligned or not.
        folder: of the run, whose zoo was scored.

    Returns:
        The conditions; none where the recipe names none.

    Raises:
        UserError: see ``zoo_conditions``.
    """
    names = () if recipe.diffusion is None else recipe.diffusion.conditions
    return zoo_conditions(names, zoo, folder.artifact("zoo"))


def _is_missing(context: Context, folder: Path) -> bool:
    """Whether an artifact that all processes make together is not there; all answer alike."""
    is_missing = not folder.exists()
    context.processes.wait_for_everyone()  # nobody writes before everybody has looked
    return is_missing


def _latent_batches(
    context: Context,
    settings: DiffusionSettings,
    codec: Codec,
    vectors: Tensor,
    conditions: Tensor,
) -> LatentBatch:
    """Batches of clean latents: encoded once, or each batch under its own statistics."""

    def coordinates(latents: Tensor) -> Tensor:
        return codec.standardize(latents) if settings.standardize else latents

    if settings.latent_statistics == "running":
        latents = torch.cat([coordinates(encode_all(codec, vectors)), conditions], dim=1)
        return lambda size, generator: latents[_rows(len(latents), size, generator)]
    codec.to(context.device)

    @torch.no_grad()
    def encode_batch(size: int, generator: torch.Generator) -> Tensor:
        rows = _rows(len(vectors), size, generator)
        latents = coordinates(codec.encode(vectors[rows].to(context.device), "batch"))
        return torch.cat([latents, conditions[rows].to(latents)], dim=1)

    return encode_batch


def _rows(total: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.randint(total, (size,), generator=generator)


def make_pipeline(
    context: Context, space: ParameterSpace, codec: Codec, denoiser: Denoiser | None
) -> ParameterDiffusionPipeline:
    """Put the parts together; the folder becomes loadable as a pipeline."""
    recipe, folder = context.recipe, context.folder.pipeline
    diffusion, solver = recipe.diffusion, recipe.generation.solver
    pipeline = ParameterDiffusionPipeline(
        space,
        codec,
        denoiser,
        None if diffusion is None else build_scheduler(diffusion.schedule, solver),
        statistics=recipe.codec.decoding_statistics,
        standardize=not recipe.codec.is_whitened if diffusion is None else diffusion.standardize,
        num_inference_steps=recipe.generation.num_inference_steps,
        temperature=recipe.generation.temperature,
        guidance_scale=recipe.generation.guidance_scale,
        batch_size=recipe.generation.batch_size,
    )
    if not (folder / INDEX_FILE).is_file():
        remove(folder / "scheduler")
        if pipeline.scheduler is not None:
            with written_aside(folder / "scheduler") as aside:
                pipeline.scheduler.save_pretrained(aside)
        with written_aside(folder / INDEX_FILE) as aside:
            pipeline.to_json_file(aside)
    return pipeline.to(context.device)


def make_generated(context: Context, pipeline: ParameterDiffusionPipeline, zoo: Zoo) -> None:
    """Generate the networks, and write them one at a time."""
    folder, settings = context.folder.artifact("generation"), context.recipe.generation
    if folder.exists():
        return
    with context.timed("generation"):
        seeds = range(settings.seed, settings.seed + settings.num_samples)
        generated = pipeline(
            seeds,
            condition=settings.condition,
            progress=partial(context.progress, "generating networks"),
        )
        provenance = provenance_in_run(
            context.recipe, context.folder, pipeline, Origin.of(zoo.index)
        )
        write_generated(folder, generated, provenance)


def read_generated(folder: RunFolder, layout: ParameterLayout) -> Tensor:
    """The raw vectors ``[M, P]`` of a run's generated networks, in memory."""
    (written,) = find_runs([str(folder.artifact("generation"))])
    return read_vectors(written, layout)
