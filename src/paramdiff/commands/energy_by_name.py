"""Energies by name: the built-in ones, and a user's own function."""

import torch
from torch import Tensor

from paramdiff.checkpoints.sources import find_runs
from paramdiff.energies import Energy, larger_distance, lower_loss
from paramdiff.errors import UserError
from paramdiff.methods.data_use import DataUse
from paramdiff.model_cards.provenance import inline_code
from paramdiff.parameters.space import ParameterSpace
from paramdiff.random import seeded_generator
from paramdiff.recipe.schema import load_recipe
from paramdiff.runs.generated_folder import read_vectors
from paramdiff.tasks.base import require_classification
from paramdiff.tasks.registry import build_task
from paramdiff.user_code import accepts, call, import_function, wrong_signature

NUM_EXAMPLES = 256
"""Training examples of the loss; every network sees all of them at every step."""


def build_energy(
    name: str, recipe: str | None, space: ParameterSpace, device: torch.device
) -> Energy:
    """Build the energy of a name.

    Args:
        name: ``loss``, ``distance:CHECKPOINTS`` (files as ``find_runs`` takes them) or
            ``module:function``.
        recipe: the recipe whose task has the loss.
        space: the vectors' parameter space.
        device: device of the computation.

    Returns:
        The energy.

    Raises:
        UserError: a recipe, checkpoint or function is missing or does not fit.
    """
    if (name == "loss") != (recipe is not None):
        raise UserError(
            "--energy: loss and --recipe, whose task it is about, belong together; found "
            f"{name or 'no energy'} {'without' if recipe is None else 'with'} --recipe"
        )
    if recipe is not None:
        return _loss(recipe, space, device)
    kind, _, rest = name.partition(":")
    if kind == "distance":
        found = [stored for run in find_runs([rest]) for stored in run]
        return larger_distance(read_vectors(found, space.layout), space)
    return _users_own(name)


def describe_energy(name: str, scale: float) -> str:
    """Describe an energy on a card, with the training data that it uses."""
    data = f", on the labels of {NUM_EXAMPLES} training examples" if name == "loss" else ""
    return f"{inline_code(name)}, scale {scale:g}{data}"


def data_with_energy(
    used: DataUse | None,
    energy: tuple[str, float] | None,
    num_inference_steps: int,
    num_networks: int,
) -> DataUse | None:
    """Return the task data that networks made with an energy depend on.

    Args:
        used: the pipeline's; None if it is not known.
        energy: its name and scale, if there is one.
        num_inference_steps: evaluations of the energy per network.
        num_networks: networks to generate.

    Returns:
        None if it is not known, as for a user's own function.
    """
    if used is None or energy is None or energy[0].startswith("distance:"):
        return used
    if energy[0] != "loss":
        return None
    seen = NUM_EXAMPLES * num_inference_steps * num_networks
    return DataUse("labels", "training", (used.images_seen or 0) + seen)


def _loss(recipe: str, space: ParameterSpace, device: torch.device) -> Energy:
    settings = load_recipe(recipe).task
    task = None if settings is None else build_task(settings)
    task = require_classification(task, f"{recipe}: task")
    rows = torch.randperm(len(task.train), generator=seeded_generator("guide"))[:NUM_EXAMPLES]
    inputs, labels = task.train.inputs[rows], task.train.labels[rows]
    return lower_loss(task.build_network(), space, inputs, labels, device=device)


def _users_own(name: str) -> Energy:
    function = import_function(name, "--energy")
    if not accepts(function, torch.empty(0)):
        raise wrong_signature("--energy", name, function, "a function (vectors)")

    def energy(vectors: Tensor) -> Tensor:
        hint = f"it was called with vectors {list(vectors.shape)}"
        return call("--energy", name, hint, function, vectors)

    return energy
