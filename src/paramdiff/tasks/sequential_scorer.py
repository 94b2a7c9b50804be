"""The networks of a ``CustomTask``, scored one after the other by the task's own measure.

Nothing is shared between them: what a detector or a denoiser computes from its inputs is the
task's business, so that no network can be cut where parameter sets begin to differ.
"""

import warnings
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from paramdiff.errors import NotFiniteError, UserError
from paramdiff.scoring.predict import loaded
from paramdiff.tasks.base import CustomTask, Scores, untrained_network

SplitName = Literal["validation", "test"]


class TaskScorer:
    """A scored task's network as a function of some of its tensors.

    Args:
        task: network and score.
        base: a complete state dict, the source of every tensor that a parameter set lacks.
        device: where to compute.

    Raises:
        UserError: the base checkpoint is not the network's.
    """

    def __init__(
        self, task: CustomTask, base: Mapping[str, Tensor], *, device: torch.device
    ) -> None:
        self._task, self._base = task, dict(base)
        self._network = loaded(untrained_network(task, 0), base).to(device)
        self._forms: dict[SplitName, str] = {}

    def scores(
        self, parameter_sets: Iterable[Mapping[str, Tensor]], split: SplitName
    ) -> list[Scores]:
        """The scores of many parameter sets on one split.

        Args:
            parameter_sets: the chosen tensors by name, of each set.
            split: which examples.

        Returns:
            One entry for each set, on the CPU; all of a split have one form.

        Raises:
            UserError: scores have the wrong form, or another than those of an earlier set.
            NotFiniteError: a score is NaN or infinite.
        """
        found: list[Scores] = []
        for index, tensors in enumerate(parameter_sets):
            # all of the state: a score may have moved buffers
            self._network.load_state_dict(self._base | dict(tensors), strict=True)
            scores = score_network(self._task, self._network, split, f"parameter set {index}")
            form = _form(scores)
            if form != self._forms.setdefault(split, form):
                raise UserError(
                    f"parameter set {index}: expected {split} scores of one form for all "
                    f"networks, found {form} after {self._forms[split]}"
                )
            found.append(scores)
        return found

    @cached_property
    def is_deterministic(self) -> bool:
        """Check if the base checkpoint has the same validation scores twice; warn if not."""
        self._network.load_state_dict(self._base, strict=True)
        with torch.random.fork_rng(devices=()):
            first, second = (
                score_network(self._task, self._network, "validation", "the base checkpoint")
                for _ in range(2)
            )
        same = torch.allclose(first.values.float(), second.values.float(), rtol=1e-4, atol=1e-5)
        if not same:
            warnings.warn(
                "the network or its score is random at test time: scoring the same parameters "
                "twice does not give the same result",
                stacklevel=2,
            )
        return same


@torch.no_grad()
def score_network(task: CustomTask, network: nn.Module, split: SplitName, whose: str) -> Scores:
    """Score one network and check what the task says; the network's mode is kept.

    Args:
        task: whose score it is.
        network: on any device.
        split: which examples.
        whose: the network's name in a message.

    Returns:
        The scores on the CPU: float32, or bool where the task gives that.

    Raises:
        UserError: there is neither one score per example nor one for the split, or what is wrong
            is not told as indicators.
        NotFiniteError: a score is NaN or infinite.
    """
    was_training = network.training
    scores = task.score(network, split)
    network.train(was_training)
    values, wrong = scores.values.cpu(), scores.wrong
    num_examples = task.num_validation if split == "validation" else task.num_test
    if values.dim() != 1 or len(values) not in (1, num_examples):
        raise UserError(
            f"{whose}: expected {num_examples} {split} scores, or one for the whole split, found "
            f"shape {tuple(values.shape)}"
        )
    if wrong is not None and (wrong.dim() != 1 or wrong.dtype != torch.bool or not len(wrong)):
        raise UserError(
            f"{whose}: expected what is wrong as bool [W], found {wrong.dtype} of shape "
            f"{tuple(wrong.shape)}"
        )
    if not torch.isfinite(values).all():
        raise NotFiniteError(f"{whose}: expected finite {split} scores, found NaN or infinity")
    if values.dtype != torch.bool:
        values = values.float()
    return Scores(values, None if wrong is None else wrong.cpu())


def _form(scores: Scores) -> str:
    wrong = "none wrong" if scores.wrong is None else f"{len(scores.wrong)} that may be wrong"
    return f"{len(scores.values)} values, {wrong}"
