"""Check a recipe: sizes, parameter counts and cost of what it would make; nothing is run."""

from collections.abc import Sequence
from dataclasses import dataclass

from paramdiff.recipe.schema import Recipe, load_recipe
from paramdiff.runs.cost import PFLOP, estimate_cost
from paramdiff.runs.meta_models import MetaModels, build_meta_models, num_values
from paramdiff.storage import StrPath
from paramdiff.tasks.base import TaskDescription
from paramdiff.tasks.registry import describe_task


@dataclass(frozen=True)
class CheckResult:
    """A recipe that can be run.

    Attributes:
        recipe: with every value filled.
        sizes: label to value: data, parameters, parts and estimated cost.
    """

    recipe: Recipe
    sizes: dict[str, str]


def check(recipe: Recipe | StrPath, overrides: Sequence[str] = ()) -> CheckResult:
    """Resolve and validate a recipe, and tell its sizes and its cost; run nothing.

    Args:
        recipe: a recipe, a YAML file, or the name of a shipped recipe.
        overrides: ``path=value`` for a recipe that is loaded.

    Returns:
        The resolved recipe and its sizes.

    Raises:
        UserError: the recipe is wrong, or what it names does not go together.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, overrides)
    description = None if recipe.task is None else describe_task(recipe.task)
    return CheckResult(recipe, check_recipe(recipe, description))


def check_recipe(recipe: Recipe, description: TaskDescription | None) -> dict[str, str]:
    """Describe what a recipe would make.

    Args:
        recipe: what would be run.
        description: the recipe's task, if it has one.

    Returns:
        Label to value.

    Raises:
        UserError: see ``build_meta_models``.
    """
    parts = build_meta_models(recipe, description)
    layout = parts.layout
    facts = {"task": "none: generated networks are not evaluated"}
    if description is not None:
        facts["task"] = (
            f"{description.title}: {description.num_train:,} training, "
            f"{description.num_validation:,} validation, {description.num_test:,} test examples"
        )
    facts |= {
        "network parameters": f"{num_values(parts.state_dict.values()):,}",
        "generated parameters": f"{layout.num_parameters:,} in {len(layout.slots)} tensors",
        "vector length": f"{parts.vector_length:,}",
        "codec": recipe.codec.describe(),
    }
    if parts.codec is not None:
        facts["codec parameters"] = f"{num_values(parts.codec.parameters()):,}"
    if recipe.diffusion is None:
        facts["denoiser"] = "none: latents are drawn from N(0, I)"
    if parts.denoiser is not None:
        more = recipe.diffusion is not None and recipe.diffusion.conditions
        facts["denoiser parameters"] = f"{num_values(parts.denoiser.parameters()):,}" + (
            ", and those that read conditions" if more else ""
        )
    if parts.network is not None and description is not None:
        facts["estimated cost"] = _cost_in_words(recipe, description, parts)
    return facts


def _cost_in_words(recipe: Recipe, description: TaskDescription, parts: MetaModels) -> str:
    if description.input_shape is None:
        return "unknown; the task has its own loss and score"
    try:
        operations = estimate_cost(recipe, description, parts)
    except Exception as error:  # counting runs the network's own code, which may raise anything
        return f"unknown; the network does not run without values ({type(error).__name__})"
    shares = ", ".join(f"{stage} {n / PFLOP:.2g}" for stage, n in operations.items())
    return f"{sum(operations.values()) / PFLOP:.2g} PFLOP ({shares})"
