"""The modules of a recipe on the meta device: sizes without values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paramdiff.checkpoints.sources import find_runs
from paramdiff.codecs.base import Codec
from paramdiff.codecs.registry import CODECS
from paramdiff.diffusion.denoisers.base import Denoiser
from paramdiff.diffusion.training import build_denoiser
from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.selection import select
from paramdiff.parameters.space import padded
from paramdiff.permutation.symmetry import find_symmetries
from paramdiff.recipe.schema import FolderSettings, Recipe
from paramdiff.tasks.base import TaskDescription
from paramdiff.zoo.collect import check_selection
from paramdiff.zoo.plan import plan_of
from paramdiff.zoo.zoo import check_num_originals


@dataclass(frozen=True)
class MetaModels:
    """Modules and tensors of a run, without values.

    Attributes:
        network: the task's; None if checkpoints come from a folder.
        state_dict: of the network, or of the folder's first checkpoint.
        layout: of the selected tensors.
        codec: None if its size depends on the zoo.
        denoiser: None if the recipe has none, or its size depends on the zoo.
    """

    network: nn.Module | None
    state_dict: Mapping[str, Tensor]
    layout: ParameterLayout
    codec: Codec | None
    denoiser: Denoiser | None

    @property
    def vector_length(self) -> int:
        """Length of the padded vectors that the codec encodes."""
        return padded(self.layout.num_parameters)


def build_meta_models(recipe: Recipe, description: TaskDescription | None) -> MetaModels:
    """Build every module whose size is known before there is a zoo.

    Args:
        recipe: to be run.
        description: of the recipe's task; None if it has none.

    Returns:
        The modules, in evaluation mode.

    Raises:
        UserError: the network does not suit the task, a pattern matches nothing, no checkpoint
            would be kept, the latent is too large, more checkpoints are learned from than there
            are, a task with its own score is asked for what only classification has, or a network
            is to be aligned that cannot be.
    """
    if recipe.parameters.num_checkpoints is not None:
        check_num_originals(recipe.parameters.num_checkpoints, _num_originals(recipe))
    if description is not None:
        recipe.evaluation.check_task(is_classification=description.is_classification)
    if recipe.codec.learns_from is not None:
        _check_behavior(description)
    network = None
    if isinstance(recipe.collection, FolderSettings):
        state_dict, _ = find_runs(recipe.collection.checkpoints)[0][0].read(
            recipe.collection.state_dict_key
        )
    else:
        assert description is not None  # a recipe that trains has a task
        network = _untrained_network(description)
        state_dict = network.state_dict()
    layout = ParameterLayout.of(state_dict, select(state_dict, recipe.parameters.select))
    if network is not None and description is not None:
        assert not isinstance(recipe.collection, FolderSettings)
        check_selection(network, layout, recipe.collection)
        plan_of(recipe.collection, description.num_train)
    if recipe.parameters.align:
        _check_alignment(network, layout, description)
    codec, denoiser = _codec_and_denoiser(recipe, padded(layout.num_parameters))
    return MetaModels(network, state_dict, layout, codec, denoiser)


def _check_behavior(description: TaskDescription | None) -> None:
    """Refuse a codec that is trained on predictions if the recipe has no classification task."""
    if description is None or not description.is_classification:
        raise UserError(f"codec.behavior: {_unlike_classification(description)}")


def _unlike_classification(description: TaskDescription | None) -> str:
    found = "there is none" if description is None else "this task has its own score"
    return f"this needs a classification task, but {found}"


def _check_alignment(
    network: nn.Module | None, layout: ParameterLayout, description: TaskDescription | None
) -> None:
    """Refuse a network that cannot be aligned, as far as this shows without values."""
    if description is None or description.input_shape is None:
        raise UserError(f"parameters.align: {_unlike_classification(description)}")
    network = network or _untrained_network(description)
    example = torch.empty(2, *description.input_shape, device="meta")
    find_symmetries(network, layout, example)


def num_values(tensors: Iterable[Tensor]) -> int:
    """Count the elements of the floating-point tensors."""
    return sum(tensor.numel() for tensor in tensors if tensor.is_floating_point())


def _num_originals(recipe: Recipe) -> int:
    """Count the checkpoints that will not be held out."""
    if not isinstance(recipe.collection, FolderSettings):
        return recipe.collection.num_checkpoints
    found = sum(map(len, find_runs(recipe.collection.checkpoints)))  # copies among them
    return found - recipe.collection.num_held_out


def _untrained_network(description: TaskDescription) -> nn.Module:
    try:
        with torch.device("meta"):
            return description.build_network().eval()
    except (UserError, RuntimeError):  # of code, perhaps a user's, that looks at values
        return description.build_network().eval().to("meta")


def _codec_and_denoiser(recipe: Recipe, length: int) -> tuple[Codec | None, Denoiser | None]:
    with torch.device("meta"):
        codec = CODECS[recipe.codec.kind].build(recipe.codec, length)
        if codec is None:
            return None, None
        if recipe.diffusion is None:
            return codec.eval(), None
        return codec.eval(), build_denoiser(recipe.diffusion, codec.latent_dim).eval()
