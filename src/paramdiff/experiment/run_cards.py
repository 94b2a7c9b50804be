"""The cards of a run: of its pipeline, and of the networks that it generated."""

from paramdiff.artefacts import CARD_FILE, sha256_of, write_text
from paramdiff.cards.generated_card import Making, generated_card
from paramdiff.cards.origin import Origin
from paramdiff.cards.pipeline_card import pipeline_card
from paramdiff.evaluation.schema import Evaluation
from paramdiff.experiment.folder import RunFolder
from paramdiff.experiment.generated import making_of
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe import Recipe
from paramdiff.zoo.zoo import Zoo


def making_in_run(
    recipe: Recipe, folder: RunFolder, pipeline: ParameterDiffusionPipeline, zoo: Zoo
) -> Making:
    """How a run's networks are generated.

    Args:
        recipe: of the run; of one generator seed, where there are several.
        folder: of its artefacts; the pipeline is there.
        pipeline: that generates.
        zoo: what it learned from.

    Returns:
        What their card needs to know.
    """
    origin = Origin.of(zoo.index)
    first = recipe.generation.seed
    return making_of(
        pipeline,
        recipe.name,
        sha256_of(folder.pipeline),
        range(first, first + recipe.generation.num_samples),
        checkpoints=f"{origin.words}; SHA-256 of their hashes `{origin.sha256}`",
    )


def write_cards(
    recipe: Recipe,
    folder: RunFolder,
    pipeline: ParameterDiffusionPipeline,
    zoo: Zoo,
    evaluation: Evaluation | None,
) -> None:
    """Write both cards; those without scores only where they are missing.

    Args:
        recipe: see ``making_in_run``.
        folder: see ``making_in_run``.
        pipeline: see ``making_in_run``.
        zoo: see ``making_in_run``.
        evaluation: of the run, where it was just made.
    """
    places = (folder.pipeline / CARD_FILE, folder.artefact("generation") / CARD_FILE)
    if evaluation is None and all(place.is_file() for place in places):
        return
    making = making_in_run(recipe, folder, pipeline, zoo)
    write_text(places[0], pipeline_card(recipe, pipeline, Origin.of(zoo.index), evaluation))
    write_text(places[1], generated_card(making, evaluation))
