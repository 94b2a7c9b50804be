"""What a recipe would make: sizes and parameter counts, without running anything."""

from collections.abc import Iterable

import torch

from paramdiff.codec.convolutional import ConvolutionalCodec
from paramdiff.diffusion.training import build_denoiser
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.selection import select
from paramdiff.parameters.space import padded
from paramdiff.recipe import FolderSettings, Recipe
from paramdiff.tasks.task import Task, seeded_network
from paramdiff.zoo.files import read_checkpoint
from paramdiff.zoo.folder import list_runs
from paramdiff.zoo.zoo import check_num_originals


def check_recipe(recipe: Recipe, task: Task) -> dict[str, str]:
    """Build every part at its size, on no device.

    Args:
        recipe: what would be run.
        task: the recipe's.

    Returns:
        Label to value, for people.

    Raises:
        UserError: a pattern matches nothing, the latent is too large, or more checkpoints are
            learned from than there are.
    """
    if isinstance(recipe.collection, FolderSettings):
        state_dict = read_checkpoint(list_runs(recipe.collection.path)[0][0])
    else:
        state_dict = seeded_network(task, recipe.seed).state_dict()
    if recipe.parameters.num_checkpoints is not None:
        check_num_originals(recipe.parameters.num_checkpoints, _num_originals(recipe))
    layout = ParameterLayout.of(state_dict, select(state_dict, recipe.parameters.select))
    length = padded(layout.num_parameters)
    facts = {
        "network parameters": f"{_size(state_dict.values()):,}",
        "generated parameters": f"{layout.num_parameters:,} in {len(layout.slots)} tensors",
        "vector length": f"{length:,}",
    }
    if recipe.codec.kind == "linear":
        share = recipe.codec.explained_variance
        facts["codec"] = f"principal components that keep {share:.1%} of the zoo's variance"
        return facts
    with torch.device("meta"):
        codec = ConvolutionalCodec(
            length=length,
            latent_dim=recipe.codec.latent_dim,
            channels=recipe.codec.channels,
            kernel_size=recipe.codec.kernel_size,
        )
    facts["codec parameters"] = f"{_size(codec.parameters()):,}"
    if recipe.diffusion is None:
        facts["denoiser"] = "none: latents are drawn from N(0, I)"
        return facts
    with torch.device("meta"):
        denoiser = build_denoiser(recipe.diffusion, recipe.codec.latent_dim)
    facts["denoiser parameters"] = f"{_size(denoiser.parameters()):,}"
    return facts


def _num_originals(recipe: Recipe) -> int:
    """The checkpoints of the zoo-to-be that are not held out."""
    if not isinstance(recipe.collection, FolderSettings):
        return recipe.collection.num_checkpoints
    *learned, last = (len(files) for files in list_runs(recipe.collection.path))
    return sum(learned) if learned else last - recipe.collection.num_held_out


def _size(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors if tensor.is_floating_point())
