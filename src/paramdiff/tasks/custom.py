"""Tasks with a loss and a score of their own, and the sequential scoring of their networks.

Nothing is shared between networks: what a detector or a denoiser computes from its inputs is the
task's business, so that no network can be cut where parameter sets begin to differ.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from paramdiff.errors import NotFiniteError, UserError
from paramdiff.random import drawing_from
from paramdiff.scoring.predict import loaded
from paramdiff.tasks.base import (
    ParameterSets,
    Scores,
    SplitName,
    Task,
    TaskDescription,
    data_sizes,
    untrained_network,
)


@dataclass(frozen=True)
class CustomTask:
    """Data and a network that is no classifier: the task brings its own loss and score.

    Its networks are scored one by one; frozen layers are not run ahead.

    Attributes:
        name: for people.
        score_name: for people: ``average precision``.
        is_fraction: whether scores lie between 0 and 1 and read best as percentages.
        num_train: examples that networks are trained on.
        num_validation: examples that select.
        num_test: examples that are scored once.
        build_network: as ``ClassificationTask``'s.
        loss: the mean loss of a network, in its own mode and on its own device, on these rows
            ``[B]`` of the training split; augmentation draws from the generator.
        score: of a network, which the call puts into evaluation mode; the same network has the
            same scores each time, so what the call draws it seeds itself.
        build_pretrained: as ``ClassificationTask``'s.
        network_name: as ``ClassificationTask``'s.
        selects_on_test: whether the test split also selects, as in the paper.
        data_in_words: for people, where counts of examples would say the wrong thing.
    """

    name: str
    score_name: str
    is_fraction: bool
    num_train: int
    num_validation: int
    num_test: int
    build_network: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Tensor, torch.Generator], Tensor]
    score: Callable[[nn.Module, SplitName], Scores]
    build_pretrained: Callable[[], nn.Module] | None = None
    network_name: str | None = None
    selects_on_test: bool = False
    data_in_words: str | None = None

    def __post_init__(self) -> None:
        sizes = (self.num_train, self.num_validation, self.num_test)
        if min(sizes) < 1:
            raise UserError(
                f"task {self.name!r}: {sizes[0]} training, {sizes[1]} validation and {sizes[2]} "
                "test examples; each split needs at least one"
            )

    @property
    def as_classification(self) -> None:
        """See ``Task``."""
        return None

    def training_loss(
        self, network: nn.Module, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """See ``Task``."""
        with drawing_from(generator, next(network.parameters()).device):
            return self.loss(network, rows, generator)

    def validation_scorer(
        self, base: Mapping[str, Tensor], names: tuple[str, ...], device: torch.device
    ) -> Callable[[ParameterSets], list[float]]:
        """See ``Task``; networks are scored one by one."""
        networks = TaskScorer(self, base, device=device)
        return lambda sets: [
            float(scores.values.double().mean()) for scores in networks.scores(sets, "validation")
        ]

    def describe(self) -> TaskDescription:
        """See ``Task``."""
        sizes = (self.num_train, self.num_validation, self.num_test)
        return TaskDescription(self.name, None, None, *sizes, self.build_network)

    def facts(self) -> dict[str, str]:
        """See ``Task``."""
        data = data_sizes(self) if self.data_in_words is None else self.data_in_words
        return {"Task": f"{self.name}: {data}", "Score": f"{self.score_name}, higher is better"}

    def test_data(self) -> str:
        """See ``Task``."""
        if self.data_in_words is not None:
            return f"by {self.name}"
        return f"in {self.score_name} on the test split of {self.name}"


class TaskScorer:
    """Score a task's network, one parameter set after the other.

    Args:
        task: network and score.
        base: a complete state dict, the source of every tensor that a parameter set lacks.
        device: where to compute.

    Raises:
        UserError: the base checkpoint is not the network's.
    """

    def __init__(self, task: Task, base: Mapping[str, Tensor], *, device: torch.device) -> None:
        self._task, self._base = task, dict(base)
        self._network = loaded(untrained_network(task, 0), base).to(device)
        self._forms: dict[SplitName, str] = {}

    def scores(
        self, parameter_sets: Iterable[Mapping[str, Tensor]], split: SplitName
    ) -> list[Scores]:
        """Compute the scores of many parameter sets on one split.

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
                    f"parameter set {index}: {split} scores must have one form for all "
                    f"networks, but are {form} after {self._forms[split]}"
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
def score_network(task: Task, network: nn.Module, split: SplitName, whose: str) -> Scores:
    """Score one network and check what the task says; the network's mode is kept.

    Args:
        task: whose score it is.
        network: on any device.
        split: which examples.
        whose: the network's name in a message.

    Returns:
        The scores on the CPU: float32, or bool if the task gives that.

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
            f"{whose}: there must be {num_examples} {split} scores, or one for the whole split, "
            f"but their shape is {tuple(values.shape)}"
        )
    if wrong is not None and (wrong.dim() != 1 or wrong.dtype != torch.bool or not len(wrong)):
        raise UserError(
            f"{whose}: the answers that are wrong must be bool [W], but are {wrong.dtype} of "
            f"shape {tuple(wrong.shape)}"
        )
    if not torch.isfinite(values).all():
        raise NotFiniteError(f"{whose}: its {split} scores are not finite (NaN or infinity)")
    if values.dtype != torch.bool:
        values = values.float()
    return Scores(values, None if wrong is None else wrong.cpu())


def _form(scores: Scores) -> str:
    wrong = "none wrong" if scores.wrong is None else f"{len(scores.wrong)} that may be wrong"
    return f"{len(scores.values)} values, {wrong}"
