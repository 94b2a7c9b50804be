"""The task data that a recipe's generators learn from, beside checkpoints."""

from paramdiff.evaluation.data_use import DataBudget
from paramdiff.recipe.recipe import Recipe


def data_budget(recipe: Recipe) -> DataBudget | None:
    """The training examples that each generator of a recipe sees; None where it sees none."""
    if recipe.codec.kind != "corrected":
        return None
    behaviour = recipe.codec.behaviour
    updates = behaviour.training.num_steps + behaviour.training.extra_updates
    seen = updates * behaviour.training.batch_size * behaviour.num_networks
    return DataBudget(seen, "labels" if behaviour.target == "labels" else "inputs")
