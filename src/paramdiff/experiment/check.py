"""What a recipe would make: sizes, parameter counts and cost, without running anything."""

from paramdiff.experiment.cost import PFLOP, estimate_cost
from paramdiff.experiment.parts import build_parts, num_values
from paramdiff.recipe import FolderSettings, Recipe
from paramdiff.tasks.description import TaskDescription
from paramdiff.zoo.folder import list_runs
from paramdiff.zoo.zoo import check_num_originals


def check_recipe(recipe: Recipe, description: TaskDescription) -> dict[str, str]:
    """Refuse what cannot work, and say what the rest would be.

    Args:
        recipe: what would be run.
        description: of the recipe's task.

    Returns:
        Label to value, for people.

    Raises:
        UserError: see ``build_parts``; or more checkpoints are learned from than there are.
    """
    if recipe.parameters.num_checkpoints is not None:
        check_num_originals(recipe.parameters.num_checkpoints, _num_originals(recipe))
    parts = build_parts(recipe, description)
    layout = parts.layout
    facts = {
        "task": f"{description.title}: {description.num_train:,} training, "
        f"{description.num_validation:,} validation, {description.num_test:,} test examples",
        "network parameters": f"{num_values(parts.state_dict.values()):,}",
        "generated parameters": f"{layout.num_parameters:,} in {len(layout.slots)} tensors",
        "vector length": f"{parts.vector_length:,}",
    }
    if recipe.codec.kind == "linear":
        share = recipe.codec.explained_variance
        facts["codec"] = f"principal components that keep {share:.1%} of the zoo's variance"
    if parts.codec is not None:
        facts["codec parameters"] = f"{num_values(parts.codec.parameters()):,}"
    if recipe.diffusion is None:
        facts["denoiser"] = "none: latents are drawn from N(0, I)"
    if parts.denoiser is not None:
        facts["denoiser parameters"] = f"{num_values(parts.denoiser.parameters()):,}"
    if parts.network is not None:
        operations = estimate_cost(recipe, description, parts)
        shares = ", ".join(f"{stage} {n / PFLOP:.2g}" for stage, n in operations.items())
        facts["estimated cost"] = f"{sum(operations.values()) / PFLOP:.2g} PFLOP ({shares})"
    return facts


def _num_originals(recipe: Recipe) -> int:
    """The checkpoints of the zoo-to-be that are not held out."""
    if not isinstance(recipe.collection, FolderSettings):
        return recipe.collection.num_checkpoints
    *learned, last = (len(files) for files in list_runs(recipe.collection.path))
    return sum(learned) if learned else last - recipe.collection.num_held_out
