"""Score and compare: a zoo and generated networks to ``evaluation.json`` and its arrays."""

from pathlib import Path

import torch
from torch import Tensor

from paramdiff.artefacts import write_json, write_tensors
from paramdiff.codec.codec import Codec, Statistics
from paramdiff.codec.training import decode_all, encode_all
from paramdiff.evaluation.evaluate import Score
from paramdiff.evaluation.schema import ARRAYS_FILE, EVALUATION_FILE, Evaluation
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.scoring.inputs import join
from paramdiff.scoring.score import Scorer
from paramdiff.tasks.task import Task
from paramdiff.zoo.zoo import Zoo

TRAJECTORY_STATES = 50


def build_score(task: Task, zoo: Zoo, device: torch.device) -> Score:
    """A function from raw vectors ``[M, P]`` to labels of the validation and test examples."""
    inputs = join(task.validation.inputs, task.test.inputs)
    scorer = Scorer(task.build_network(), zoo.base, zoo.layout.names, inputs, device=device)

    def score(vectors: Tensor) -> Tensor:
        return scorer.predict([zoo.layout.unflatten(vector) for vector in vectors])

    return score


def reconstruct(
    space: ParameterSpace, codec: Codec, vectors: Tensor, statistics: Statistics
) -> Tensor:
    """Each original encoded and decoded, without noise.

    Args:
        space: raw to normalised values.
        codec: encodes under running statistics.
        vectors: the originals' normalised vectors ``[N, length]``.
        statistics: of the decoder's normalisation layers.

    Returns:
        Raw vectors ``[N, P]``.
    """
    latents = encode_all(codec.to("cpu"), vectors)
    return space.denormalise(decode_all(codec, latents, statistics))


def score_trajectory(
    pipeline: ParameterDiffusionPipeline,
    score: Score,
    test_truth: Tensor,
    seeds: list[int],
    num_steps: int,
) -> dict[str, Tensor]:
    """The accuracy of the decoded states of the reverse process (paper Figure 5b).

    Args:
        pipeline: what generates.
        score: see ``build_score``.
        test_truth: ``[E]``.
        seeds: whose reverse process is followed.
        num_steps: of the reverse process.

    Returns:
        The arrays ``trajectory/timestep`` and ``trajectory/accuracy``.
    """
    every = max(1, num_steps // TRAJECTORY_STATES)
    trajectory = pipeline.trajectory(seeds, num_steps=num_steps, every=every)
    states = trajectory.states.nan_to_num(0.0)
    labels = score(states.flatten(0, 1))[:, -len(test_truth) :]
    accuracy = (labels == test_truth).float().mean(1).view(states.shape[:2])
    return {"trajectory/timestep": trajectory.timesteps, "trajectory/accuracy": accuracy.T}


def write_evaluation(folder: Path, evaluation: Evaluation, arrays: dict[str, Tensor]) -> None:
    """Write the arrays, then the numbers: whole when ``evaluation.json`` exists."""
    write_tensors(folder / ARRAYS_FILE, arrays)
    write_json(folder / EVALUATION_FILE, evaluation.model_dump(mode="json", by_alias=True))


def network_facts(task: Task, layout: ParameterLayout, zoo: Zoo) -> dict[str, str]:
    """What was run, as far as the task and the zoo tell."""
    total = sum(tensor.numel() for tensor in zoo.base.values() if tensor.is_floating_point())
    shown = ", ".join(layout.names[:6]) + (", ..." if len(layout.names) > 6 else "")
    held_out = {
        "run": "a separate run",
        "tail": "the tail of the trajectory",
        "none": "none",
    }[zoo.index.hold_out]
    selecting = f"{len(task.validation)} validation"
    if task.selects_on_test:
        selecting = "no validation (the test examples select, as published: best values flatter)"
    return {
        "Task": f"{task.name}: {len(task.train)} training, {selecting}, {len(task.test)} test "
        "examples",
        "Network": _network_of(task),
        "Generated parameters": f"{layout.num_parameters:,} of {total:,} ({shown})",
        "Checkpoints": f"{len(zoo.originals)}, and {len(zoo.held_out)} held out ({held_out})",
    }


def _network_of(task: Task) -> str:
    name = task.network_name or type(task.build_network()).__name__
    return f"{name}, from published weights" if task.build_pretrained else name
