"""Model cards of pipelines and generated networks: Markdown with a metadata block for the Hub."""

import platform
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import TypeAdapter

import paramdiff
from paramdiff.evaluation.sample_groups import SampleGroup
from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.data_use import DataUse, data_used
from paramdiff.methods.group_names import label_of, method_of, phrase_of
from paramdiff.model_cards.provenance import Origin, Provenance, inline_code
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe.description import data_budget, recipe_facts
from paramdiff.recipe.schema import Recipe
from paramdiff.report.tables import score_headings, score_rows
from paramdiff.storage import CARD_FILE

TAGS = ["parameter-diffusion", "weight-generation", "arxiv:2402.13144"]
METADATA = "paramdiff"
"""Key of our metadata."""


def render_card(template: str, metadata: ModelCardData, **facts: Any) -> str:
    """Render a card.

    Args:
        template: file in ``templates/``.
        metadata: metadata block.
        **facts: variables of the template.

    Returns:
        Markdown.
    """
    return _templates().get_template(template).render(metadata=metadata.to_yaml(), **facts)


def card_metadata(
    name: str, own: Mapping[str, Any], evaluation: Evaluation | None
) -> ModelCardData:
    """Make the metadata block of a card.

    Args:
        name: name of the run.
        own: our own, machine-readable metadata.
        evaluation: evaluation of the generated networks, if there is one.

    Returns:
        The metadata, with the generated networks' mean score if known.
    """
    results = None if evaluation is None else [_result(evaluation)]
    metadata = ModelCardData(
        library_name="paramdiff",
        tags=list(TAGS),
        model_name=name if results else None,
        eval_results=results,
    )
    metadata[METADATA] = dict(own)
    return metadata


def _result(evaluation: Evaluation) -> EvalResult:
    task = evaluation.facts.get("Task", evaluation.title).partition(":")[0]
    score = evaluation.score_info.name
    return EvalResult(
        task_type="other",
        task_name=task,
        dataset_type=task,
        dataset_name=task,
        dataset_split="test",
        metric_type=score.replace(" ", "_"),
        metric_name=f"mean {score} of {evaluation.groups['generated'].n} generated networks",
        metric_value=round(evaluation.groups["generated"].score.mean, 6),
    )


def versions() -> str:
    """Name the versions of this package and of its numerical libraries."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers"))
    return f"paramdiff {paramdiff.__version__}, {libraries}, Python {platform.python_version()}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("paramdiff.model_cards", "templates"),
        autoescape=False,  # the output is Markdown, in which foreign names are code spans
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        code=inline_code, label=label_of, headings=score_headings, rows=score_rows
    )
    return environment


DATA = "training_data"
MOST_IMAGES = 10**8
"""Maximum plausible number of images on a card; data-matched baselines train on as many."""


def data_for_card(used: DataUse | None) -> dict[str, Any]:
    """Make our metadata on the task data used, or nothing if unknown."""
    return {} if used is None else {DATA: asdict(used)}


def data_on_card(folder: Path) -> DataUse | None:
    """Read the task data used from the card of a folder.

    Args:
        folder: folder of a pipeline or of checkpoints, possibly untrusted.

    Returns:
        None if there is no plausible card of ours.
    """
    try:
        used = TypeAdapter(DataUse).validate_python(_own(folder)[DATA])
    except Exception:  # see _own
        return None
    is_credible = used.images_seen is None or 0 < used.images_seen <= MOST_IMAGES
    return used if is_credible else None


def checkpoints_on_card(folder: Path) -> str | None:
    """Describe a pipeline's training checkpoints from its card.

    Args:
        folder: folder of the pipeline, possibly untrusted.

    Returns:
        A phrase, or None if there is no card of ours.
    """
    try:
        own = _own(folder)
        count, digest = int(own["num_checkpoints"]), str(own["checkpoints_sha256"])
    except Exception:  # see _own
        return None
    if re.fullmatch("[0-9a-f]{64}", digest) is None:
        return None
    return f"{count} checkpoints, SHA-256 of their hashes `{digest}`"


def _own(folder: Path) -> dict[str, Any]:
    """Read our metadata; an untrusted card may raise anything."""
    return ModelCard.load(folder / CARD_FILE).data[METADATA]


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


def made_card(group: SampleGroup, seed: int, origin: Origin, facts: Mapping[str, str]) -> str:
    """Render the card of a folder of networks that a method made of checkpoints.

    Args:
        group: the networks.
        seed: random seed of the method.
        origin: the checkpoints.
        facts: label to value.

    Returns:
        Markdown.
    """
    own = {
        "method": group.name,
        "num_networks": len(group.raw),
        "checkpoints_sha256": origin.sha256,
        "num_checkpoints": len(origin.hashes),
        "seed": seed,
        **data_for_card(group.data_used),
    }
    return render_card(
        "made.md.jinja",
        card_metadata(group.name, own, None),
        group=group,
        seed=seed,
        origin=origin,
        facts=facts,
        reference=method_of(group.name).reference,
        phrase=phrase_of(group.name),
        versions=versions(),
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
