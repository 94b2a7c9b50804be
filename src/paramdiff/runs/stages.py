"""The stages of a run in their order, and what each of them makes.

``STAGES`` is the whole order; ``stage.py`` has the loop that completes them.
"""

import warnings
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paramdiff.codecs.base import Codec, encode_all
from paramdiff.codecs.behavioral import Examples
from paramdiff.codecs.registry import fit_codec
from paramdiff.diffusion.diffusion_settings import DiffusionSettings
from paramdiff.diffusion.training import LatentBatch, train_denoiser
from paramdiff.evaluation.schema import EVALUATION_FILE
from paramdiff.model_cards.provenance import Origin
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline_io import INDEX_FILE
from paramdiff.recipe.schema import FolderSettings
from paramdiff.report.page import REPORT_FILE, write_report
from paramdiff.runs.alignment_stage import align_zoo
from paramdiff.runs.denoiser_validation import build_validation
from paramdiff.runs.evaluation_stage import evaluate_run
from paramdiff.runs.generated_folder import write_generated
from paramdiff.runs.run_cards import has_cards, provenance_in_run, write_cards
from paramdiff.runs.run_context import RunContext, SeedRun
from paramdiff.runs.stage_loop import Stage, Trained
from paramdiff.scoring.differentiable import DifferentiableNetwork
from paramdiff.storage import CARD_FILE, remove, written_aside
from paramdiff.tasks.base import Task, require_classification
from paramdiff.zoo.collect import collect
from paramdiff.zoo.import_checkpoints import import_checkpoints
from paramdiff.zoo.learned_from import LearnedFrom
from paramdiff.zoo.metadata import SCORES_FILE, write_scores
from paramdiff.zoo.zoo import Zoo


def make_zoo(run: RunContext) -> None:
    """Collect or import the checkpoints, and score them on the validation split of a task."""
    folder = run.folder.artifact("zoo")
    if not folder.exists():
        if isinstance(run.recipe.collection, FolderSettings):
            _import_zoo(run, run.recipe.collection)
        else:
            assert run.task is not None  # a recipe that trains has one
            collect(
                run.task,
                run.recipe.parameters.select,
                run.recipe.collection,
                seed=run.recipe.seed,
                device=run.device,
                zoo_folder=folder,
                state_folder=run.scratch / "zoo",
                progress=run.progress,
                fan_out=run.fan_out,
            )
    if run.task is not None:
        write_scores(folder, Zoo.load(folder), run.task, run.device)


def _is_zoo_done(run: RunContext) -> bool:
    folder = run.folder.artifact("zoo")
    return (folder if run.recipe.task is None else folder / SCORES_FILE).exists()


def _import_zoo(run: RunContext, source: FolderSettings) -> None:
    imported = import_checkpoints(
        source.checkpoints,
        run.folder.artifact("zoo"),
        run.recipe.parameters.select,
        base=source.base_checkpoint,
        num_held_out=source.num_held_out,
        spaced=source.hold_out == "spaced",
        state_dict_key=source.state_dict_key,
    )
    if run.recipe.task is not None:  # without a task, the plan has shown the notes
        for note in imported.notes:
            warnings.warn(note, stacklevel=2)


def make_space(run: SeedRun) -> None:
    """Fit the normalization."""
    zoo, mode = run.zoo, run.recipe.parameters.normalization
    space = ParameterSpace.fit(
        zoo.originals, zoo.layout, zoo.base, mode, zoo.index.checkpoint_format
    )
    with written_aside(run.folder.artifact("pipeline/parameter_space")) as aside:
        space.save_pretrained(aside)
        learned_from = LearnedFrom.of(zoo.index)
        if learned_from is not None:
            learned_from.write(aside)


def make_codec(run: SeedRun) -> Trained:
    """Train the codec; what is saved includes the moments of its latents."""
    settings, examples = run.recipe.codec, None
    if settings.learns_from is not None:
        assert run.run.task is not None  # build_meta_models refuses such recipes
        examples = training_examples(run.run.task, run.space, run.device)
    codec, result = fit_codec(
        run.vectors,
        settings,
        seed=run.random_seed("codec"),
        device=run.device,
        examples=examples,
        state_file=run.state_file("codec.pt"),
        progress=partial(run.progress, "training the codec"),
    )

    def save(folder: Path) -> None:
        codec.fit_latent_moments(encode_all(codec, run.vectors))
        codec.save_pretrained(folder)

    return Trained(save, result)


def training_examples(task: Task, space: ParameterSpace, device: torch.device) -> Examples:
    """Prepare a task's training split for a codec that is trained on predictions.

    Inputs are not augmented: the layers before the generated tensors run once per example.

    Args:
        task: a classification task.
        space: of the vectors.
        device: where to compute.

    Returns:
        The examples, as functions of normalized vectors.

    Raises:
        UserError: the base checkpoint is not the network's.
    """
    labelled = require_classification(task, "codec.behavior")
    inputs = labelled.train.inputs
    network = DifferentiableNetwork(
        labelled.build_network(), space.base, space.layout.names, inputs, device=device
    )
    placed = deepcopy(space).to(device)  # the caller's stays where it is

    def logits(normalized: Tensor, rows: Tensor) -> Tensor:
        return network.logits(placed.layout.unflatten(placed.denormalize(normalized)), rows)

    return Examples(logits, labelled.train.labels)


def make_denoiser(run: SeedRun) -> Trained:
    """Train the denoiser on the zoo's latents."""
    settings, codec, known = run.recipe.diffusion, run.codec, run.run.conditions
    assert settings is not None
    notes: list[str] = []
    seed = run.random_seed("denoiser")
    denoiser, result = train_denoiser(
        _latent_batches(run, settings, codec, known.originals),
        codec.latent_dim,
        settings,
        seed=seed,
        device=run.device,
        conditions=known.conditions,
        state_file=run.state_file("denoiser.pt"),
        progress=lambda done, total: run.progress(
            "training the denoiser", done, total, *notes[-1:]
        ),
        validation=build_validation(
            run.recipe,
            run.zoo,
            run.space,
            codec,
            run.vectors,
            known.held_out,
            seed=seed,
            device=run.device,
            note=notes.append,
        ),
    )
    codec.to("cpu")
    return Trained(denoiser.save_pretrained, result)


def _latent_batches(
    run: SeedRun, settings: DiffusionSettings, codec: Codec, conditions: Tensor
) -> LatentBatch:
    """Draw batches of clean latents: encoded once, or each batch under its own statistics."""
    vectors, device = run.vectors, run.device

    def coordinates(latents: Tensor) -> Tensor:
        return codec.standardize(latents) if settings.standardize else latents

    if settings.latent_statistics == "running":
        latents = torch.cat([coordinates(encode_all(codec, vectors)), conditions], dim=1)
        return lambda size, generator: latents[_rows(len(latents), size, generator)]
    codec.to(device)

    @torch.no_grad()
    def encode_batch(size: int, generator: torch.Generator) -> Tensor:
        rows = _rows(len(vectors), size, generator)
        latents = coordinates(codec.encode(vectors[rows].to(device), "batch"))
        return torch.cat([latents, conditions[rows].to(latents)], dim=1)

    return encode_batch


def _rows(total: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.randint(total, (size,), generator=generator)


def make_pipeline(run: SeedRun) -> None:
    """Write what makes the folder loadable as a pipeline: scheduler and index."""
    remove(run.folder.artifact("pipeline/scheduler"))
    if run.pipeline.scheduler is not None:
        with written_aside(run.folder.artifact("pipeline/scheduler")) as aside:
            run.pipeline.scheduler.save_pretrained(aside)
    with written_aside(run.folder.pipeline / INDEX_FILE) as aside:
        run.pipeline.to_json_file(aside)


def make_generated(run: SeedRun) -> None:
    """Generate the networks, and write them one at a time."""
    settings = run.recipe.generation
    generated = run.pipeline(
        range(settings.seed, settings.seed + settings.num_samples),
        condition=settings.condition,
        progress=partial(run.progress, "generating networks"),
    )
    origin = Origin.of(run.zoo.index)
    provenance = provenance_in_run(run.recipe, run.folder, run.pipeline, origin)
    write_generated(run.folder.artifact("generated"), generated, provenance)


def make_cards(run: SeedRun) -> None:
    """Write the model cards, without scores."""
    write_cards(run.recipe, run.folder, run.pipeline, Origin.of(run.zoo.index), None)


def make_report(run: RunContext) -> None:
    """Draw the report."""
    write_report(run.folder.root)


ZOO_STAGES: tuple[Stage[RunContext], ...] = (
    Stage(
        "zoo",
        ("seed", "task", "collection", "parameters.select"),
        "zoo",
        make_zoo,
        is_done=_is_zoo_done,
    ),
    Stage(
        "alignment",
        ("parameters.align",),
        "aligned",
        align_zoo,
        is_in=lambda recipe: recipe.parameters.align,
    ),
)
"""Stages that all generator seeds share."""

CODEC_STAGES: tuple[Stage[SeedRun], ...] = (
    Stage("parameter space", ("parameters",), "pipeline/parameter_space", make_space),
    Stage("codec", ("codec", "generator_seeds.0"), "pipeline/codec", make_codec, is_trained=True),
)
"""Stages of each generator seed up to its codec, which may be checked then."""

GENERATION_STAGES: tuple[Stage[SeedRun], ...] = (
    Stage(
        "denoiser",
        ("diffusion",),
        "pipeline/denoiser",
        make_denoiser,
        is_trained=True,
        is_in=lambda recipe: recipe.diffusion is not None,
    ),
    Stage(
        "pipeline",
        ("generation",),
        f"pipeline/{INDEX_FILE}",
        make_pipeline,
        is_reusable=False,
    ),
    Stage("generation", ("generation",), "generated", make_generated),
    Stage(
        "model cards",
        (),
        f"generated/{CARD_FILE}",
        make_cards,
        is_reusable=False,
        is_done=lambda run: has_cards(run.folder),
    ),
)
"""Stages of each generator seed from its denoiser to its networks."""

EVALUATION_STAGES: tuple[Stage[RunContext], ...] = (
    Stage("evaluation", ("evaluation",), EVALUATION_FILE, evaluate_run, is_reusable=False),
    Stage(
        "report",
        (),
        REPORT_FILE,
        make_report,
        is_reusable=False,
        is_done=lambda run: False,  # drawn anew from evaluation.json, in seconds
    ),
)
"""Stages that pool all generator seeds; they need a task."""

STAGES: tuple[Stage[Any], ...] = (
    *ZOO_STAGES,
    *CODEC_STAGES,
    *GENERATION_STAGES,
    *EVALUATION_STAGES,
)
"""The whole order."""
