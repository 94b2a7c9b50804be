"""The model cards of a run: of its pipeline, and of the networks that it generated."""

import warnings
from pathlib import Path

from diffusers.utils import logging

from paramdiff.errors import UserError
from paramdiff.evaluation.schema import EVALUATION_FILE, Evaluation
from paramdiff.methods.data_use import data_used
from paramdiff.model_cards.card import generated_card, pipeline_card
from paramdiff.model_cards.provenance import Origin, Provenance, generation_settings
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe.description import data_budget
from paramdiff.recipe.schema import Recipe, load_recipe
from paramdiff.runs.folder import RunFolder
from paramdiff.storage import CARD_FILE, sha256_of, write_text
from paramdiff.zoo.learned_from import LearnedFrom
from paramdiff.zoo.zoo import read_index


def provenance_in_run(
    recipe: Recipe, folder: RunFolder, pipeline: ParameterDiffusionPipeline, origin: Origin
) -> Provenance:
    """Collect the provenance of a run's generated networks.

    Args:
        recipe: of the run, for one generator seed.
        folder: of its artifacts; the pipeline is there.
        pipeline: that generates.
        origin: what it learned from.

    Returns:
        The content of their card.
    """
    first, num = recipe.generation.seed, recipe.generation.num_samples
    return Provenance(
        recipe.name,
        sha256_of(folder.pipeline),
        range(first, first + num),
        settings=generation_settings(pipeline, num, condition=recipe.generation.condition),
        checkpoint_format=pipeline.parameter_space.checkpoint_format,
        checkpoints=f"{origin.description}; SHA-256 of their hashes `{origin.sha256}`",
        data=data_used(data_budget(recipe)),
        learned_from=LearnedFrom.read(folder.pipeline / "parameter_space"),
    )


def has_cards(folder: RunFolder) -> bool:
    """Return True if a run has both of its model cards."""
    return all(card.is_file() for card in _cards(folder))


def write_cards(
    recipe: Recipe,
    folder: RunFolder,
    pipeline: ParameterDiffusionPipeline,
    origin: Origin,
    evaluation: Evaluation | None,
) -> None:
    """Write both cards.

    Args:
        recipe: see ``provenance_in_run``.
        folder: see ``provenance_in_run``.
        pipeline: see ``provenance_in_run``.
        origin: see ``provenance_in_run``.
        evaluation: of the run; None for cards without scores.
    """
    of_pipeline, of_networks = _cards(folder)
    provenance = provenance_in_run(recipe, folder, pipeline, origin)
    write_text(of_pipeline, pipeline_card(recipe, pipeline, origin, evaluation))
    write_text(of_networks, generated_card(provenance, evaluation))


def _cards(folder: RunFolder) -> tuple[Path, Path]:
    return folder.pipeline / CARD_FILE, folder.artifact("generated") / CARD_FILE


def add_scores(generated: Path, evaluation: Evaluation) -> None:
    """Add scores to the model cards of a run that could not score its networks itself.

    Args:
        generated: the evaluated folder; nothing happens unless it belongs to such a run.
        evaluation: of what lies there.
    """
    folder = RunFolder(generated.resolve().parent)
    source = folder.root / "recipe.yaml"
    is_runs = generated.resolve() == folder.artifact("generated") and source.is_file()
    if not is_runs or (folder.root / EVALUATION_FILE).is_file():
        return
    logging.disable_progress_bar()
    try:
        recipe = load_recipe(source)
        if recipe.task is not None:
            return
        pipeline = ParameterDiffusionPipeline.from_pretrained(folder.pipeline)
        index = read_index(folder.artifact("zoo"))
        origin = Origin.of(index, recipe.parameters.num_checkpoints)
        write_cards(recipe, folder, pipeline, origin, evaluation)
    except (UserError, OSError) as error:  # the evaluation itself is whole
        warnings.warn(f"the run's cards stay without scores: {error}", stacklevel=2)
