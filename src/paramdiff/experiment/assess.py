"""Score and compare: a zoo and generated networks to ``evaluation.json`` and its arrays."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.artefacts import write_json, write_tensors
from paramdiff.codec.training import decode_all, encode_all
from paramdiff.diffusion.conditions import Value
from paramdiff.engine import seeded_generator
from paramdiff.errors import NotFiniteError
from paramdiff.evaluation.behaviour import Answers, Behaviour, classification
from paramdiff.evaluation.calibration import negative_log_likelihood
from paramdiff.evaluation.course import reverse_course
from paramdiff.evaluation.fine_tuning import TrainingExamples
from paramdiff.evaluation.schema import (
    ARRAYS_FILE,
    EVALUATION_FILE,
    Evaluation,
    OutOfDistribution,
)
from paramdiff.evaluation.settings import EvaluationSettings
from paramdiff.evaluation.subject import LatentSpace
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.scoring.differentiable import DifferentiableNetwork
from paramdiff.scoring.inputs import join
from paramdiff.scoring.recalibrate import Recalibrator
from paramdiff.scoring.score import Scorer
from paramdiff.tasks.one_by_one import OneByOne
from paramdiff.tasks.task import AnyTask, ScoredTask, Scores, Task, untrained_network
from paramdiff.zoo.zoo import Zoo

NUM_RECALIBRATION_INPUTS = 2000
TRAJECTORY_STATES = 50


def build_behaviour(
    task: AnyTask, zoo: Zoo, device: torch.device, *, recalibrate: bool = False
) -> Behaviour:
    """How raw vectors ``[M, P]`` behave on the task's examples.

    Args:
        task: data and network.
        zoo: the base checkpoint and the layout of a vector.
        device: where to compute.
        recalibrate: whether to answer with BatchNorm statistics estimated anew, too.

    Returns:
        Functions for scores, and in classification for probabilities and recalibrated scores.

    Raises:
        UserError: the base checkpoint is not the network's, or there is no BatchNorm to
            recalibrate, or a task with its own score would have to.
    """
    if isinstance(task, Task):
        return _of_classifiers(task, zoo, device, recalibrate=recalibrate)
    EvaluationSettings(recalibrate_batchnorm=recalibrate).check_task(is_classification=False)
    return _of_scored(task, zoo, device)


def _of_scored(task: ScoredTask, zoo: Zoo, device: torch.device) -> Behaviour:
    """One network at a time, by the task's own score."""
    networks = OneByOne(task, zoo.base, device=device)

    def answers(vectors: Tensor) -> Answers:
        sets = [zoo.layout.unflatten(vector) for vector in vectors]
        validation, test = networks.scores(sets, "validation"), networks.scores(sets, "test")
        return Answers(_values(validation), _values(test), _wrong(test))

    return Behaviour(
        num_validation=task.num_validation,
        num_test=task.num_test,
        answers=answers,
        score_name=task.score_name,
        is_fraction=task.is_fraction,
        is_deterministic=networks.is_deterministic,
    )


def _values(scores: list[Scores]) -> Tensor:
    return torch.stack([one.values for one in scores])


def _wrong(scores: list[Scores]) -> Tensor | None:
    found = [one.wrong for one in scores if one.wrong is not None]
    return torch.stack(found) if found else None  # all or none: they have one form


def _of_classifiers(task: Task, zoo: Zoo, device: torch.device, *, recalibrate: bool) -> Behaviour:
    """All networks together, by fast scoring."""
    network, names, test = task.build_network(), zoo.layout.names, task.test.inputs

    def sets(vectors: Tensor) -> list[dict[str, Tensor]]:
        return [zoo.layout.unflatten(vector) for vector in vectors]

    examples = join(task.validation.inputs, test)
    scorer = Scorer(network, zoo.base, names, examples, device=device)
    foreign = task.out_of_distribution

    @cache  # not everybody asks for probabilities
    def unsure() -> Scorer:
        inputs = test if foreign is None else join(test, foreign.inputs)
        return Scorer(network, zoo.base, names, inputs, device=device)

    @cache  # frozen layers run on all training examples: only where somebody trains
    def trained() -> DifferentiableNetwork:
        inputs = task.train.inputs
        return DifferentiableNetwork(network, zoo.base, names, inputs, device=device)

    def training_logits(vector: Tensor, rows: Tensor) -> Tensor:
        return trained().logits(zoo.layout.unflatten(vector.to(device)), rows)

    @cache
    def selecting() -> Scorer:
        return Scorer(network, zoo.base, names, task.validation.inputs, device=device)

    def validation_loss(vectors: Tensor) -> Tensor:
        probabilities, truth = selecting().probabilities(sets(vectors)), task.validation.labels
        return torch.stack(
            [negative_log_likelihood(one.cpu(), truth).mean() for one in probabilities]
        )

    recalibrator = None
    if recalibrate:
        # at random: splits may come class by class, and so would the statistics of a batch
        order = torch.randperm(len(task.train), generator=seeded_generator("recalibration"))
        training = task.train.inputs[order[:NUM_RECALIBRATION_INPUTS]]
        recalibrator = Recalibrator(network, zoo.base, training, test, device=device)
    return classification(
        lambda vectors: scorer.predict(sets(vectors)),
        task.validation.labels,
        task.test.labels,
        probabilities=lambda vectors: unsure().probabilities(sets(vectors)),
        out_of_distribution=None
        if foreign is None
        else OutOfDistribution(description=foreign.description, num_examples=len(foreign.inputs)),
        recalibrated_labels=None
        if recalibrator is None
        else lambda vectors: recalibrator.predict(sets(vectors)),
        is_deterministic=scorer.is_deterministic,
        training=TrainingExamples(training_logits, task.train.labels, validation_loss),
    )


def untrained_vectors(task: AnyTask, layout: ParameterLayout) -> Callable[[int], Tensor]:
    """A function from a seed to the raw vector ``[P]`` of a freshly initialised network."""
    return lambda seed: layout.flatten(untrained_network(task, seed).state_dict(), "initial")


def latent_space(pipeline: ParameterDiffusionPipeline) -> LatentSpace:
    """The pipeline's maps between raw vectors and latents, without noise, on the CPU."""
    space, codec = pipeline.parameter_space.to("cpu"), pipeline.codec.to("cpu")
    return LatentSpace(
        encode=lambda vectors: encode_all(codec, space.normalise(vectors)),
        decode=lambda latents: space.denormalise(
            decode_all(codec, latents, pipeline.config.statistics)
        ),
    )


def score_trajectory(
    pipeline: ParameterDiffusionPipeline,
    behaviour: Behaviour,
    seeds: list[int],
    num_steps: int,
    condition: Mapping[str, Value] | None = None,
) -> dict[str, Tensor]:
    """The score of the decoded states of the reverse process (paper Figure 5b).

    Args:
        pipeline: what generates.
        behaviour: scores networks.
        seeds: whose reverse process is followed.
        num_steps: of the reverse process.
        condition: what is asked for.

    Returns:
        The arrays ``trajectory/timestep``, ``trajectory/accuracy`` and ``course/reverse``; none
        where a network on the way computes NaN or infinite values.
    """
    every = max(1, num_steps // TRAJECTORY_STATES)
    trajectory = pipeline.trajectory(seeds, num_steps=num_steps, every=every, condition=condition)
    states = trajectory.states.nan_to_num(0.0)
    try:
        scores = behaviour.answers(states.flatten(0, 1)).test
    except NotFiniteError:
        return {}
    accuracy = scores.float().mean(1).view(states.shape[:2])
    arrays = {"trajectory/timestep": trajectory.timesteps, "trajectory/accuracy": accuracy.T}
    return arrays | reverse_course(states[:, 0], pipeline.parameter_space.layout)


def write_evaluation(folder: Path, evaluation: Evaluation, arrays: dict[str, Tensor]) -> None:
    """Write the arrays, then the numbers: whole when ``evaluation.json`` exists."""
    write_tensors(folder / ARRAYS_FILE, arrays)
    write_json(folder / EVALUATION_FILE, evaluation.model_dump(mode="json", by_alias=True))


def network_facts(task: AnyTask, layout: ParameterLayout, zoo: Zoo) -> dict[str, str]:
    """What was run, as far as the task and the zoo tell."""
    total = sum(tensor.numel() for tensor in zoo.base.values() if tensor.is_floating_point())
    shown = ", ".join(layout.names[:6]) + (", ..." if len(layout.names) > 6 else "")
    held_out = {
        "run": "a separate run",
        "tail": "the tail of the trajectory",
        "spaced": "evenly spaced among the others",
        "none": "none",
    }[zoo.index.hold_out]
    selecting = f"{task.num_validation} validation"
    if task.selects_on_test:
        selecting = "no validation (the test examples select, as published: best values flatter)"
    score = {} if isinstance(task, Task) else {"Score": f"{task.score_name}, higher is better"}
    return {
        "Task": f"{task.name}: {task.num_train} training, {selecting}, {task.num_test} test "
        "examples",
        **score,
        "Network": _network_of(task),
        "Generated parameters": f"{layout.num_parameters:,} of {total:,} ({shown})",
        "Checkpoints": f"{len(zoo.originals)}, and {len(zoo.held_out)} held out ({held_out})",
    }


def _network_of(task: AnyTask) -> str:
    name = task.network_name or type(task.build_network()).__name__
    return f"{name}, from published weights" if task.build_pretrained else name
