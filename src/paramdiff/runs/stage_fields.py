"""The stages of a run, and the fields of a recipe that each depends on."""

from itertools import takewhile
from typing import Any

STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "zoo": ("zoo", ("seed", "task", "collection", "parameters.select")),
    "alignment": ("aligned", ("parameters.align",)),
    "parameter space": ("pipeline/parameter_space", ("parameters",)),
    "codec": ("pipeline/codec", ("codec", "generator_seeds.0")),
    "denoiser": ("pipeline/denoiser", ("diffusion",)),
    "generation": ("generated", ("generation",)),
}
"""Stage to its artifact and the fields it depends on, beside those of the stages before it."""

SHARED = ("zoo", "alignment")
"""Stages that all generator seeds share."""

TRUNK_FIELDS = ("seed", "task", "collection.pretraining")
"""What the pre-trained network depends on."""


def equal_stages(one: Any, other: Any) -> list[str]:
    """The first stages in whose fields two recipes, as JSON, are equal."""

    def is_equal(stage: str) -> bool:
        return all(field_of(one, field) == field_of(other, field) for field in STAGES[stage][1])

    return list(takewhile(is_equal, STAGES))


def is_made(stage: str, recipe: Any) -> bool:
    """Whether a recipe, as JSON, has the stage at all."""
    return stage != "alignment" or recipe["parameters"]["align"]


def has_equal_pretraining(one: Any, other: Any) -> bool:
    """Whether two recipes, as JSON, branch from the same pre-trained network."""
    fields = (*TRUNK_FIELDS, "collection.kind", "collection.independent_runs")
    is_equal = all(field_of(one, field) == field_of(other, field) for field in fields)
    return is_equal and field_of(one, "collection.pretraining") is not None


def field_of(content: Any, path: str) -> Any:
    """What a recipe, as JSON, says of a dotted field; None where it says nothing."""
    for key in path.split("."):
        if isinstance(content, list):
            content = content[int(key)]
        else:
            content = content.get(key) if isinstance(content, dict) else None
    return content
