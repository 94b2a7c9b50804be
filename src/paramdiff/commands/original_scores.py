"""Scores of the original checkpoints, which the user knows already, before the long work.

Wrong inputs, or a network that is not the checkpoints', show here.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from paramdiff.checkpoints.formats import StoredCheckpoint
from paramdiff.checkpoints.sources import find_runs
from paramdiff.device import resolve_device
from paramdiff.errors import UserError
from paramdiff.evaluation.predictor import Predictor
from paramdiff.evaluation.score_info import ScoreInfo
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.runs.generated_folder import read_vectors
from paramdiff.runs.predictors import build_predictor
from paramdiff.subsampling import evenly_spaced
from paramdiff.tasks.base import ClassificationTask, Task
from paramdiff.zoo.zoo import Zoo, ZooIndex

MOST_SCORED = 5
MOST_VALUES = 1 << 28
"""Values of all scored networks together, so that long vectors fit into memory."""


def describe_originals(task: Task, predictor: Predictor, vectors: Tensor) -> tuple[str, ...]:
    """Score a few originals and describe them.

    Args:
        task: the networks' task.
        predictor: scores the networks.
        vectors: raw vectors ``[N, P]``, of which at most ``MOST_SCORED`` are scored.

    Returns:
        One line each: the preprocessing of inputs, if it is known, and the scores.

    Raises:
        UserError: a network computes NaN or infinite values.
    """
    num = len(vectors)
    rows = evenly_spaced(num, max(1, min(MOST_SCORED, MOST_VALUES // vectors.shape[1])))
    try:
        scores = predictor.predict(vectors[rows]).test.double().mean(1)
    except UserError as error:
        raise type(error)(f"the originals: {error}") from None
    score = ScoreInfo(name=predictor.score_name, is_fraction=predictor.is_fraction)
    low, high = score.number(float(scores.min()), 1), score.text(float(scores.max()), 1)
    found = f"The original scores {high}"
    if num > 1:
        some = "" if len(rows) == num else f", {len(rows)} of {num} scored"
        found = (
            f"The originals score {score.text(float(scores.mean()), 1)} ({low} to {high}{some})"
        )
    lines = [f"{found} {_where(task, predictor)}: does your training log say so?"]
    if isinstance(task, ClassificationTask) and task.inputs_in_words is not None:
        lines.insert(0, f"Inputs of {task.name}: {task.inputs_in_words}")
    return tuple(lines)


def describe_checkpoints(
    task_of: Callable[[Mapping[str, Tensor]], Task],
    sources: Sequence[str],
    *,
    base: Path | None = None,
    state_dict_key: str | None = None,
    device: str = "auto",
) -> tuple[str, ...]:
    """Score a few checkpoints before they become a zoo.

    Args:
        task_of: returns the task of a complete state dict.
        sources: see ``find_runs``.
        base: a complete checkpoint for the tensors that they lack.
        state_dict_key: the key of the state dict in files that hold several.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Returns:
        See ``describe_originals``.

    Raises:
        UserError: a checkpoint cannot be read, or is not the network's.
    """
    found = [stored for run in find_runs(sources) for stored in run]
    first, _ = found[0].read(state_dict_key)
    complete = first if base is None else StoredCheckpoint(base, base.name).read(state_dict_key)[0]
    layout = ParameterLayout.of(first, list(first))
    most = max(1, min(MOST_SCORED, MOST_VALUES // layout.num_parameters))
    some = [found[row] for row in evenly_spaced(len(found), most).tolist()]
    vectors = read_vectors(some, layout, state_dict_key)
    task = task_of(complete)
    index = ZooIndex.model_validate(
        {"layout": layout.to_json(), "hold_out": "none", "checkpoints": []}
    )
    zoo = Zoo(vectors, vectors[:0], layout, complete, index)
    predictor = build_predictor(task, zoo, resolve_device(device))
    return describe_originals(task, predictor, vectors)


def _where(task: Task, predictor: Predictor) -> str:
    if isinstance(task, ClassificationTask):
        return f"on the {predictor.num_test:,} test examples of {task.name}"
    if task.data_in_words is not None:
        return f"by {task.name}"
    return f"in {task.score_name} on the test split of {task.name}"
