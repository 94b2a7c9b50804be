"""A user's function from a state dict to a score, as a task without data and network of ours."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from paramdiff.errors import UserError, in_one_line
from paramdiff.tasks.task import ScoredTask, Scores

ScoringFunction = Callable[[dict[str, Tensor]], Any]


class StateDictHolder(nn.Module):
    """Stands for a network that only the user's function knows how to build.

    Args:
        content: a state dict of the network.
    """

    def __init__(self, content: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.content = dict(content)

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:  # type: ignore[override]
        """What it holds."""
        return dict(self.content)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Hold another state dict of the same names."""
        if strict and state_dict.keys() != self.content.keys():
            odd = sorted(state_dict.keys() ^ self.content.keys())[0]
            raise RuntimeError(f"tensor {odd!r} is in one of two checkpoints only")
        self.content = dict(state_dict)


def task_of_function(
    name: str, function: ScoringFunction, example: Mapping[str, Tensor]
) -> ScoredTask:
    """A task whose score is a function of the state dict.

    Args:
        name: of the function.
        function: from a complete state dict to a number (higher is better), or to ``[E]`` of bool,
            whether each example is right.
        example: a complete state dict, scored once to see what the function gives.

    Returns:
        The task; one split both selects and is reported.

    Raises:
        UserError: the function fails, or gives something else.
    """
    first = _scores(name, function, example)
    is_right = first.wrong is not None

    def score(network: nn.Module, split: Literal["validation", "test"]) -> Scores:
        assert isinstance(network, StateDictHolder)
        return _scores(name, function, network.content)

    def no_loss(network: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        raise UserError(f"{name}: a scoring function has no loss to train with")

    return ScoredTask(
        name=name,
        score_name="accuracy" if is_right else "score",
        is_fraction=is_right,
        num_train=1,
        num_validation=len(first.values),
        num_test=len(first.values),
        build_network=lambda: StateDictHolder(example),
        loss=no_loss,
        score=score,
        network_name="known to the scoring function",
        selects_on_test=True,
    )


def _scores(name: str, function: ScoringFunction, state_dict: Mapping[str, Tensor]) -> Scores:
    try:
        found = function(dict(state_dict))
    except Exception as error:  # of somebody's code
        told = in_one_line(error)
        raise UserError(f"--score: {name!r} failed: {type(error).__name__}: {told}") from error
    try:
        values = torch.as_tensor(found).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        values = torch.empty(0, dtype=torch.uint8)
    if values.dim() == 0 and values.dtype != torch.bool:
        return Scores(values.reshape(1).float())
    if values.dim() == 1 and values.dtype == torch.bool and len(values):
        return Scores(values, ~values)
    raise UserError(
        f"--score: expected {name!r} to return a number, or bool [E] of what is right, found "
        f"{found!r:.80}"
    )
