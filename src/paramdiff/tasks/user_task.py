"""Tasks of the user's own: a ``Task``, a function that returns one, or functions that score."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from paramdiff.errors import UserError
from paramdiff.networks.logits import num_logits
from paramdiff.tasks.base import Scores, SplitName, Task, TaskDescription
from paramdiff.tasks.classification import ClassificationTask
from paramdiff.tasks.custom import CustomTask
from paramdiff.tasks.task_settings import TaskSettings
from paramdiff.user_code import (
    accepts,
    call,
    import_function,
    import_object,
    parameters_of,
    wrong_signature,
)

SETTABLE = {"name", "seed"}
WANTED = "a paramdiff Task, or a function (seed) or () that returns one"


@dataclass(frozen=True)
class UserTask:
    """A function of the user's as the source of a task.

    Attributes:
        settings: of the recipe; only the seed reaches the function.
        function: from the seed, or from nothing, to the task.
    """

    settings: TaskSettings
    function: Callable[..., Task]

    def __post_init__(self) -> None:
        if not accepts(self.function, 0) and not accepts(self.function):
            raise wrong_signature("task.name", self.settings.name, self.function, WANTED)
        for field in sorted(self.settings.model_fields_set - SETTABLE):
            if getattr(self.settings, field) != type(self.settings).model_fields[field].default:
                raise UserError(
                    f"task.{field}: {self.settings.name!r} decides this itself, found "
                    f"{getattr(self.settings, field)!r}"
                )

    def build(self) -> Task:
        """See ``TaskSpec``."""
        name, seed = self.settings.name, self.settings.seed
        given = (seed,) if accepts(self.function, seed) else ()
        hint = f"it was called with {f'the seed {seed}' if given else 'nothing'}"
        task = call("task.name", name, hint, self.function, *given)
        if not isinstance(task, Task):
            raise UserError(
                f"task.name: {name!r} must return a paramdiff Task, but returned "
                f"{type(task).__name__}"
            )
        labelled = task.as_classification
        if labelled is not None:
            self._num_classes(labelled)
        return task

    def describe(self) -> TaskDescription:
        """See ``TaskSpec``; the data are read."""
        task = self.build()
        found, labelled = task.describe(), task.as_classification
        if labelled is None:
            return found
        return replace(found, num_classes=self._num_classes(labelled))

    def _num_classes(self, task: ClassificationTask) -> int:
        """Count the classes of the network; a ``UserError`` if the data have more."""
        with torch.random.fork_rng(devices=[]):
            name = self.settings.name
            network = call("task.name", name, "its network was built", task.build_network)
        found = num_logits(f"task.name: {self.settings.name}", network, task.test.inputs[:2])
        most = max(int(split.labels.max()) for split in (task.train, task.validation, task.test))
        if most >= found:
            raise UserError(
                f"task.name: labels of {self.settings.name!r} must lie below {found}, the number "
                f"of its network's classes, but one is {most}"
            )
        return found


def named_function(settings: TaskSettings) -> UserTask:
    """Build the task of a name ``module:function``.

    Args:
        settings: whose name it is.

    Returns:
        The source.

    Raises:
        UserError: it cannot be imported, or takes something else.
    """
    found = import_object(settings.name, "task.name")
    if isinstance(found, Task):
        return UserTask(settings, lambda: found)
    if not callable(found):
        kind = type(found).__name__
        raise UserError(f"task.name: {settings.name!r} must be {WANTED}, but is {kind}")
    return UserTask(settings, found)


WANTED_SCORING = "a function (state_dict) or (state_dict, split)"
HINT = "it was called with a complete state dict, name to tensor"


@dataclass(frozen=True)
class ScoringFunctions:
    """Users' functions by name, before any is imported.

    Attributes:
        test: from a complete state dict to a score. If it has an argument ``split``, that is
            ``"validation"`` or ``"test"``.
        validation: a second one, whose scores select; None without one.
    """

    test: str
    validation: str | None = None


@dataclass(frozen=True)
class _Function:
    """One imported function.

    Attributes:
        option: that names it.
        name: as it was named.
        function: itself.
        takes_split: if it has an argument ``split``.
    """

    option: str
    name: str
    function: Callable[..., Any]
    takes_split: bool

    @classmethod
    def imported(cls, option: str, name: str) -> "_Function":
        """Import a function and look at what it takes."""
        function = import_function(name, option)
        if isinstance(function, type):
            raise UserError(f"{option}: {name!r} must be {WANTED_SCORING}, but is a class")
        takes_split = "split" in parameters_of(function)
        named = {"split": "test"} if takes_split else {}
        if not accepts(function, {}, **named):
            raise wrong_signature(option, name, function, WANTED_SCORING)
        return cls(option, name, function, takes_split)

    def __call__(self, state_dict: Mapping[str, Tensor], split: SplitName) -> Scores:
        """Compute the scores of one network."""
        named = {"split": split} if self.takes_split else {}
        hint = HINT + (f", and split={split!r}" if self.takes_split else "")
        own = {key: tensor.clone() for key, tensor in state_dict.items()}  # it may change them
        found = call(self.option, self.name, hint, self.function, own, **named)
        try:
            values = torch.as_tensor(found).detach().cpu()
        except (TypeError, ValueError, RuntimeError):
            values = torch.empty(0, dtype=torch.uint8)
        if values.dim() == 0 and values.dtype != torch.bool and not values.is_complex():
            return Scores(values.reshape(1).float())
        if values.dim() == 1 and values.dtype == torch.bool and len(values):
            return Scores(values, ~values)
        raise UserError(
            f"{self.option}: {self.name!r} must return a number, or bool [E] of what is right, "
            f"but returned {found!r:.80}"
        )


class StateDictHolder(nn.Module):
    """Stands for a network that only the user's function knows how to build.

    Args:
        content: a state dict of the network.
    """

    def __init__(self, content: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.content = dict(content)

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the stored state dict."""
        return dict(self.content)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Hold another state dict of the same names."""
        if strict and state_dict.keys() != self.content.keys():
            odd = sorted(state_dict.keys() ^ self.content.keys())[0]
            raise RuntimeError(f"tensor {odd!r} is in one of two checkpoints only")
        self.content = dict(state_dict)


def import_scoring(
    functions: ScoringFunctions,
) -> Callable[[Mapping[str, Tensor]], CustomTask]:
    """Import the functions that score.

    Args:
        functions: their names.

    Returns:
        A complete state dict, scored once to see what the functions give, to the task.

    Raises:
        UserError: a function cannot be imported or takes something else, or there are two ways to
            select.
    """
    test = _Function.imported("--score-fn", functions.test)
    validation = None
    if functions.validation is not None:
        validation = _Function.imported("--score-validation", functions.validation)
        if test.takes_split:
            raise UserError(
                f"--score-validation: {functions.validation!r} is not needed, because "
                f"{functions.test!r} has an argument 'split'"
            )
    return lambda example: _task(test, validation, example)


def _task(
    test: _Function, validation: _Function | None, example: Mapping[str, Tensor]
) -> CustomTask:
    """Build the task of one function or two.

    Without a second one and without ``split``, the same scores select and are reported.
    """
    selecting = validation or test
    of_test, of_validation = test(example, "test"), selecting(example, "validation")
    if (of_test.wrong is None) != (of_validation.wrong is None):
        raise UserError(
            f"{selecting.option}: validation and test scores must be of one kind, but one is a "
            "number and the other bool [E]"
        )
    is_right = of_test.wrong is not None
    selects_on_test = validation is None and not test.takes_split

    def score(network: nn.Module, split: SplitName) -> Scores:
        assert isinstance(network, StateDictHolder)
        return (test if split == "test" else selecting)(network.content, split)

    def no_loss(network: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        raise UserError(f"{test.name}: a scoring function has no loss to train with")

    return CustomTask(
        name=test.name,
        score_name="accuracy" if is_right else "score",
        is_fraction=is_right,
        num_train=1,
        num_validation=len(of_validation.values),
        num_test=len(of_test.values),
        build_network=lambda: StateDictHolder(example),
        loss=no_loss,
        score=score,
        network_name="known to the scoring function",
        selects_on_test=selects_on_test,
        data_in_words=_data_in_words(of_test, of_validation, validation, selects_on_test),
    )


def _data_in_words(
    test: Scores, validation: Scores, second: _Function | None, selects_on_test: bool
) -> str:
    """Describe the function's data."""
    told = "one number per network"
    if test.wrong is not None:
        told = f"{len(test.values):,} test examples"
    if selects_on_test:
        return f"{told}; the same data select networks and are reported"
    if test.wrong is not None:
        told = f"{len(validation.values):,} validation and {told}"
    how = "its argument split" if second is None else f"{second.name} on validation data"
    return f"{told}; networks are selected by {how}"
