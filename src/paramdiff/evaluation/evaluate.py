"""Put every free alternative beside the generated networks and measure them all alike.

The originals, the generated networks and every baseline are scored on the same examples; a
validation split selects, the test split is scored once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from paramdiff.engine import seeded_generator
from paramdiff.errors import UserError
from paramdiff.evaluation.baselines import BASELINES, Construction, gaussian
from paramdiff.evaluation.intervals import Bootstrap
from paramdiff.evaluation.measure import Measurements, Scored
from paramdiff.evaluation.schema import Evaluation, Reconstruction
from paramdiff.evaluation.similarity import similarity_matrix
from paramdiff.evaluation.spread import dispersion, nearest_original
from paramdiff.evaluation.verdict import judge
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.normalisation import Normalisation, fit_normalisation
from paramdiff.settings import Settings

Score = Callable[[Tensor], Tensor]
"""Raw vectors ``[M, P]`` to predicted labels ``[M, V + E]``: validation first, then test."""

HEAT_MAP_ROWS = 100
SHOWN_NETWORKS, SHOWN_COORDINATES = 4, 64


class EvaluationSettings(Settings):
    """How groups are compared."""

    seed: int = Field(0, ge=0, description="of the baselines' and the bootstrap's draws")
    num_trajectories: int = Field(
        3, ge=0, description="generated networks whose reverse process is scored (Figure 5b)"
    )


@dataclass(frozen=True)
class Subject:
    """What is evaluated; all vectors raw.

    Attributes:
        layout: where each tensor lies in a vector.
        originals: ``[N, P]``.
        held_out: ``[H, P]``; ``H`` may be 0.
        generated: ``[M, P]``.
        reconstructed: ``[N, P]``, the codec's reconstruction of each original, where there is one.
        hold_out: how the held-out checkpoints were chosen.
        single_trajectory: whether all originals come from one run.
        title: what was run.
        facts: what was run, label to value.
    """

    layout: ParameterLayout
    originals: Tensor
    held_out: Tensor
    generated: Tensor
    reconstructed: Tensor | None
    hold_out: str
    single_trajectory: bool
    title: str
    facts: dict[str, str]


def evaluate(
    subject: Subject,
    score: Score,
    validation_truth: Tensor,
    test_truth: Tensor,
    settings: EvaluationSettings,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Evaluation, dict[str, Tensor]]:
    """Measure every group.

    Args:
        subject: originals, generated networks and where they come from.
        score: predicts the labels of validation and test examples.
        validation_truth: ``[V]``.
        test_truth: ``[E]``.
        settings: seeds.
        progress: told how many parameter sets are scored, and how many there are.

    Returns:
        The numbers (without costs), and the arrays that figures draw.

    Raises:
        UserError: a network's predictions have the wrong length.
    """
    normalisation = fit_normalisation(subject.originals, subject.layout, "tensor")
    constructions = _constructions(subject, normalisation, settings.seed)
    num_validation = len(validation_truth)
    scored: dict[str, Scored] = {}
    total = sum(len(construction.vectors) for construction in constructions.values())
    for name, construction in constructions.items():
        if not torch.isfinite(construction.vectors).all():
            raise UserError(f"group {name!r}: the parameters hold NaN or infinite values")
        labels = score(normalisation.invert(construction.vectors))
        if labels.shape[1] != num_validation + len(test_truth):
            raise UserError(
                f"group {name!r}: expected {num_validation + len(test_truth)} predictions per "
                f"network, found {labels.shape[1]}"
            )
        scored[name] = Scored(
            construction.vectors,
            labels[:, :num_validation],
            labels[:, num_validation:],
            construction.source,
        )
        progress(sum(len(group.vectors) for group in scored.values()), total)
    bootstrap = Bootstrap.over(len(test_truth), seed=settings.seed)
    measured = Measurements(scored, validation_truth, test_truth, bootstrap)
    groups = {name: measured.group(name) for name in scored}
    comparisons = [measured.compare("generated", n) for n in scored if n != "generated"]
    count = min(len(subject.generated), len(subject.originals))
    evaluation = Evaluation(
        title=subject.title,
        facts=subject.facts | _left_out(len(subject.originals)),
        num_test=len(test_truth),
        num_validation=num_validation,
        hold_out=subject.hold_out,
        single_trajectory=subject.single_trajectory,
        groups=groups,
        comparisons=tuple(comparisons),
        best_of_n={
            name: measured.best_of(name, count)
            for name in scored
            if len(scored[name].vectors) >= count > 1 and name != "reconstructed"
        },
        reconstruction=_reconstruction(measured),
        verdict=judge(
            groups, comparisons, subject.hold_out, subject.single_trajectory, len(test_truth)
        ),
        cost={},
    )
    return evaluation, _arrays(measured)


def _constructions(
    subject: Subject, normalisation: Normalisation, seed: int
) -> dict[str, Construction]:
    """Every group's vectors, normalised per tensor, in the report's order."""

    def normalised(vectors: Tensor) -> Tensor:
        return normalisation.apply(vectors.float())

    originals, generated = normalised(subject.originals), normalised(subject.generated)
    groups = {"original": Construction(originals), "generated": Construction(generated)}
    if len(subject.held_out):
        groups["held_out"] = Construction(normalised(subject.held_out))
    if subject.reconstructed is not None:
        groups["reconstructed"] = Construction(normalised(subject.reconstructed))
    baselines = list(BASELINES)
    spread = dispersion(generated, originals)
    if spread is not None:  # the fair opponent: a Gaussian that spreads exactly as widely
        matched = gaussian(spread, f"gaussian@{round(spread, 2)}")
        if matched.name not in {baseline.name for baseline in baselines}:
            baselines.append(matched)
    for baseline in baselines:
        if len(originals) < baseline.min_originals:
            continue
        generator = seeded_generator(seed, baseline.name)
        groups[baseline.name] = baseline.build(
            originals, subject.layout, len(generated), generator
        )
    return groups


def _left_out(num_originals: int) -> dict[str, str]:
    """The baselines for which the zoo is too small, as a fact for the report."""
    names = [
        f"{baseline.name} (needs {baseline.min_originals} checkpoints)"
        for baseline in BASELINES
        if baseline.min_originals > num_originals
    ]
    return {"Left out": ", ".join(names)} if names else {}


def _reconstruction(measured: Measurements) -> Reconstruction | None:
    if "reconstructed" not in measured.scored:
        return None
    own = similarity_matrix(measured.wrong("reconstructed"), measured.wrong("original")).diagonal()
    comparison = (
        measured.accuracies("reconstructed").mean() - measured.accuracies("original").mean()
    )
    return Reconstruction(
        similarity_with_source=float(own.mean()),
        dispersion=dispersion(
            measured.scored["reconstructed"].vectors, measured.scored["original"].vectors
        ),
        accuracy_difference=float(comparison),
    )


def _arrays(measured: Measurements) -> dict[str, Tensor]:
    """What the figures draw; see ``schema.ARRAYS``."""
    arrays = {"truth": measured.test_truth}
    for name, scored in measured.scored.items():
        arrays[f"labels/{name}"] = scored.test_labels
        arrays[f"accuracy/{name}"] = measured.accuracies(name)
        similarities = measured.maximum_similarities(name)
        if similarities is not None:
            arrays[f"max_similarity/{name}"] = similarities
    originals = measured.wrong("original")[:HEAT_MAP_ROWS]
    wrong = torch.cat([originals, measured.wrong("generated")[:HEAT_MAP_ROWS]])
    arrays["similarity"] = similarity_matrix(wrong, wrong)
    arrays["similarity_num_original"] = torch.tensor([len(originals)])
    generated = measured.scored["generated"].vectors[:SHOWN_NETWORKS]
    zoo = measured.scored["original"].vectors
    count = min(SHOWN_COORDINATES, zoo.shape[1])
    coordinates = torch.linspace(0, zoo.shape[1] - 1, count).long()
    arrays["parameters/generated"] = generated[:, coordinates]
    arrays["parameters/nearest"] = zoo[nearest_original(generated, zoo)][:, coordinates]
    return arrays
