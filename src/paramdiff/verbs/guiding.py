"""``--guide`` by its name: a score at hand, or a user's own."""

import torch
from torch import Tensor

from paramdiff.checkpoints.sources import find_runs
from paramdiff.energies import Guide, larger_distance, lower_loss
from paramdiff.errors import UserError
from paramdiff.methods.data_use import DataUse
from paramdiff.model_cards.card import inline_code
from paramdiff.parameters.space import ParameterSpace
from paramdiff.random import seeded_generator
from paramdiff.recipe import load_recipe
from paramdiff.runs.generated_folder import read_vectors
from paramdiff.tasks.base import Task
from paramdiff.tasks.registry import build_task
from paramdiff.user_code import accepts, call, import_function, wrong_signature

NUM_EXAMPLES = 256
"""Training examples whose loss guides; every network sees all of them at every step."""


def build_guide(
    name: str, recipe: str | None, space: ParameterSpace, device: torch.device
) -> Guide:
    """The guide of a name.

    Args:
        name: ``loss``, ``distance:CHECKPOINTS`` (files as ``find_runs`` takes them) or
            ``module:function``.
        recipe: whose task has the loss.
        space: of the vectors.
        device: where to compute.

    Returns:
        The guide.

    Raises:
        UserError: a recipe, checkpoint or function is missing or does not fit.
    """
    if (name == "loss") != (recipe is not None):
        raise UserError(
            "--guide: loss and --recipe, whose task it is about, belong together; found "
            f"{name or 'no guide'} {'without' if recipe is None else 'with'} --recipe"
        )
    if recipe is not None:
        return _loss(recipe, space, device)
    kind, _, rest = name.partition(":")
    if kind == "distance":
        found = [stored for run in find_runs([rest]) for stored in run]
        return larger_distance(read_vectors(found, space.layout), space)
    return _users_own(name)


def guide_in_words(name: str, scale: float) -> str:
    """A guide for a card, with the training data that it looks at."""
    data = f", on the labels of {NUM_EXAMPLES} training examples" if name == "loss" else ""
    return f"{inline_code(name)}, scale {scale:g}{data}"


def data_with_guide(
    used: DataUse | None, guide: tuple[str, float] | None, num_steps: int, num_networks: int
) -> DataUse | None:
    """The task data that guided networks are made with.

    Args:
        used: the pipeline's; None where that is not known.
        guide: its name and scale, where there is one.
        num_steps: how often it is asked about each network.
        num_networks: that are guided.

    Returns:
        None where it is not known: what a user's own function looks at, nobody knows.
    """
    if used is None or guide is None or guide[0].startswith("distance:"):
        return used
    if guide[0] != "loss":
        return None
    seen = NUM_EXAMPLES * num_steps * num_networks
    return DataUse("labels", "training", (used.images_seen or 0) + seen)


def _loss(recipe: str, space: ParameterSpace, device: torch.device) -> Guide:
    settings = load_recipe(recipe).task
    task = None if settings is None else build_task(settings)
    if not isinstance(task, Task):
        found = "none" if task is None else "one with its own score"
        raise UserError(f"{recipe}: task: expected a classification task, found {found}")
    rows = torch.randperm(len(task.train), generator=seeded_generator("guide"))[:NUM_EXAMPLES]
    inputs, labels = task.train.inputs[rows], task.train.labels[rows]
    return lower_loss(task.build_network(), space, inputs, labels, device=device)


def _users_own(name: str) -> Guide:
    function = import_function(name, "--guide")
    if not accepts(function, torch.empty(0)):
        raise wrong_signature("--guide", name, function, "a function (vectors)")

    def guide(vectors: Tensor) -> Tensor:
        hint = f"it was called with vectors {list(vectors.shape)}"
        return call("--guide", name, hint, function, vectors)

    return guide
