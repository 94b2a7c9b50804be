"""Model cards of pipelines and of generated networks."""

import torch

from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.data_use import data_used
from paramdiff.model_cards.card import card_metadata, data_for_card, render_card, versions
from paramdiff.model_cards.provenance import Origin, Provenance
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe.description import data_budget, recipe_facts
from paramdiff.recipe.schema import Recipe


def generated_card(provenance: Provenance, evaluation: Evaluation | None = None) -> str:
    """Render the card of a folder of generated networks.

    Args:
        provenance: provenance of the networks.
        evaluation: their evaluation, if there is one.

    Returns:
        Markdown.
    """
    own = {
        "pipeline_sha256": provenance.pipeline_sha256,
        "num_networks": len(provenance.seeds),
        "first_seed": provenance.seeds[0],
        **data_for_card(provenance.data),
    }
    return render_card(
        "generated.md.jinja",
        card_metadata(provenance.pipeline, own, evaluation),
        provenance=provenance,
        suffix=".safetensors"
        if provenance.checkpoint_format is None
        else provenance.checkpoint_format.suffix,
        versions=versions(),
        evaluation=evaluation,
    )


SHOWN_TENSORS = 12


def pipeline_card(
    recipe: Recipe,
    pipeline: ParameterDiffusionPipeline,
    origin: Origin,
    evaluation: Evaluation | None = None,
) -> str:
    """Render the card of a run's pipeline.

    Args:
        recipe: recipe of the run, with one generator seed.
        pipeline: the pipeline.
        origin: its training checkpoints.
        evaluation: evaluation of its networks, if there is one.

    Returns:
        Markdown.
    """
    space = pipeline.parameter_space
    layout = space.layout
    rest = [tensor for name, tensor in space.base.items() if name not in layout.names]
    own = {
        "num_parameters": layout.num_parameters,
        "num_checkpoints": len(origin.hashes),
        "checkpoints_sha256": origin.sha256,
        "seed": recipe.generator_seeds[0],
        **data_for_card(data_used(data_budget(recipe))),
    }
    return render_card(
        "pipeline.md.jinja",
        card_metadata(recipe.name, own, evaluation),
        recipe=recipe,
        slots=layout.slots[:SHOWN_TENSORS],
        num_more=max(0, len(layout.slots) - SHOWN_TENSORS),
        layout=layout,
        types=sorted({_type(slot.dtype) for slot in layout.slots}),
        num_kept=len(rest),
        num_kept_values=sum(tensor.numel() for tensor in rest),
        checkpoint_format=space.checkpoint_format,
        conditions=pipeline.conditions.known,
        origin=origin,
        facts=recipe_facts(recipe, pipeline.codec.latent_dim),
        versions=versions(),
        evaluation=evaluation,
        num_generators=_num_generators(evaluation),
    )


def _type(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _num_generators(evaluation: Evaluation | None) -> int:
    return 1 if evaluation is None else len(evaluation.groups["generated"].seeds or [0])
