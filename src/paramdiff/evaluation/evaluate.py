"""Evaluate the generated networks beside every baseline, all alike.

The originals, the generated networks and every baseline are scored on the same examples; a
validation split selects, the test split is scored once.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor

from paramdiff.evaluation.best_of_n import best_of_n
from paramdiff.evaluation.comparison import compare, needed_to_decide
from paramdiff.evaluation.comparison_schema import BestOfN, Comparison
from paramdiff.evaluation.ensembles import (
    Ensembles,
    Validation,
    chosen_members,
    compare_ensembles,
    form_ensembles,
    score_ensembles,
    with_equivalents,
)
from paramdiff.evaluation.evaluate_groups import EvaluatedGroups, evaluate_groups
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.finetuning_curves import finetuning_curves
from paramdiff.evaluation.frontier import AXES, frontier
from paramdiff.evaluation.further_schema import Controllability
from paramdiff.evaluation.group_record import group_record, seed_records
from paramdiff.evaluation.group_schema import Group
from paramdiff.evaluation.inputs import EvaluationInputs
from paramdiff.evaluation.metrics.aligned_distance import are_unordered
from paramdiff.evaluation.metrics.base import GroupMetrics
from paramdiff.evaluation.metrics.similarity import (
    maximum_similarities,
    similarity_matrix,
    similarity_to_source,
)
from paramdiff.evaluation.outcome import ACCURACY_MARGIN, outcome
from paramdiff.evaluation.predictor import Predictor
from paramdiff.evaluation.ranking import rank
from paramdiff.evaluation.ranking_text import write_ranking
from paramdiff.evaluation.recalibration import recalibration
from paramdiff.evaluation.schema import Cost, Evaluation, Reconstruction
from paramdiff.evaluation.score_info import ScoreInfo
from paramdiff.evaluation.verdict import find
from paramdiff.evaluation.verdict_text import write_verdict
from paramdiff.evaluation.warnings import Errors, find_warnings
from paramdiff.methods.group_names import is_finished, label_of, method_of, phrase_of
from paramdiff.methods.registry import groups_in
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.random import seeded_generator
from paramdiff.subsampling import evenly_spaced

HEAT_MAP_ROWS = 100
SHOWN_NETWORKS, SHOWN_COORDINATES = 4, 64


def evaluate(
    inputs: EvaluationInputs,
    predictor: Predictor,
    settings: EvaluationSettings,
    progress: StageProgress = ignore_progress,
    *,
    controllability: Mapping[str, Controllability] = MappingProxyType({}),
    cost: Callable[[], dict[str, Cost]] = dict,
) -> tuple[Evaluation, dict[str, Tensor]]:
    """Evaluate every group and compare the generated networks with all others.

    Args:
        inputs: originals, generated networks and where they come from.
        predictor: scores networks on validation and test examples.
        settings: seed and options.
        progress: called with the parameter sets evaluated, and about how many there are; and with
            the updates of trainings.
        controllability: requested and achieved values by condition; see ``runs``.
        cost: called when all is evaluated; seconds and memory by stage.

    Returns:
        The content of ``evaluation.json``, and the arrays that figures draw.

    Raises:
        UserError: a given network's parameters or predictions are not finite, predictions have the
            wrong form, or the settings need what the task does not offer.
    """
    settings.check_task(is_classification=predictor.test_truth is not None)
    evaluated = evaluate_groups(inputs, predictor, settings, progress)
    measured = evaluated.measured
    score = _score_info(evaluated, predictor, settings)
    # of several runs, others than whole ones lie beside checkpoints of their own run
    is_amid = inputs.hold_out != "run" and inputs.num_runs > 1
    groups = _groups(evaluated, not evaluated.is_single_trajectory and not is_amid)
    comparisons = _comparisons(measured, groups, score)
    level = groups["original"].score.mean
    beaten = {one.reference for one in comparisons if outcome(one, score, level) == "better"}
    has_generated = inputs.generated is not None
    frontiers = {
        name: frontier(groups, axis, beaten) for name, axis in AXES.items() if has_generated
    }
    ensembles = _ensembles(evaluated, predictor, settings.seed)
    ranking = None
    if evaluated.race is not None:
        ranking = rank(evaluated.race, measured, groups, ensembles, score)
    warnings = find_warnings(
        groups,
        score,
        hold_out=inputs.hold_out,
        num_runs=inputs.num_runs,
        # of what is only ranked nobody claims that it is new
        single_trajectory=evaluated.is_single_trajectory and inputs.generated is not None,
        errors=_errors(evaluated, predictor),
        is_deterministic=predictor.is_deterministic,
        is_unordered=(inputs.symmetries is not None or inputs.has_all_matrices)
        and not inputs.is_aligned
        and are_unordered(evaluated.kept["original"].vectors),
    )
    best = _best_of_n(inputs, measured, predictor)
    evaluation = Evaluation(
        title=inputs.title,
        facts=inputs.facts | evaluated.facts,
        score_info=score,
        num_test=predictor.num_test,
        num_validation=predictor.num_validation,
        hold_out=inputs.hold_out,
        is_held_out_new=inputs.is_held_out_new,
        single_trajectory=evaluated.is_single_trajectory,
        trajectory=evaluated.trajectory,
        groups=groups,
        comparisons=tuple(comparisons),
        frontier=frontiers,
        best_of_n=best,
        ensembles=with_equivalents(
            {
                name: score_ensembles(group, measured.bootstrap, stream)
                for stream, (name, group) in enumerate(ensembles.items())
            }
        ),
        ensemble_comparisons=compare_ensembles(ensembles, measured.bootstrap),
        ood=predictor.out_of_distribution,
        recalibration=recalibration(evaluated, predictor)
        if settings.recalibrate_batchnorm
        else {},
        finetuning_curves=finetuning_curves(evaluated, predictor, settings.seed, progress)
        if settings.finetuning_curves
        else None,
        reconstruction=_reconstruction(measured),
        verdict=(
            write_verdict(find(groups, comparisons, frontiers, best, score))
            if ranking is None
            else write_ranking(ranking, groups, score)
        ).model_copy(update={"warnings": (*inputs.notes, *warnings)}),
        ranking=ranking,
        controllability=dict(controllability),
        cost=cost(),
    )
    arrays = _arrays(evaluated, predictor)
    for name, group in ensembles.items():
        arrays[f"reliability/{name}"] = group.reliability
    return evaluation, arrays


def _best_of_n(
    inputs: EvaluationInputs, measured: GroupMetrics, predictor: Predictor
) -> dict[str, BestOfN]:
    """Choose the best of equally many networks; the highest of what is reported is no choice."""
    if inputs.generated is None or predictor.selects_on_test:
        return {}
    count = min(len(inputs.generated), len(inputs.originals))
    return {
        name: best_of_n(measured, name, count)
        for name in measured.groups
        if measured.num_networks(name) >= count > 1 and name != "reconstructed"
    }


def _score_info(
    evaluated: EvaluatedGroups, predictor: Predictor, settings: EvaluationSettings
) -> ScoreInfo:
    predictions = evaluated.measured.groups["original"].predictions
    margin = settings.equivalence_margin
    if margin is None and predictor.test_truth is not None:
        margin = ACCURACY_MARGIN
    return ScoreInfo(
        equivalence_margin=margin,
        name=predictor.score_name,
        is_fraction=predictor.is_fraction,
        # one number is of the whole split, also where that counts as one example
        is_per_example=1 < predictions.test.shape[1] == predictor.num_test,
        selects_on_test=predictor.selects_on_test,
        has_errors=predictions.wrong is not None,
    )


def _comparisons(
    measured: GroupMetrics, groups: dict[str, Group], score: ScoreInfo
) -> list[Comparison]:
    """The generated networks minus every other group; without any, every group minus originals.

    Undecided comparisons say what would decide.
    """
    if "generated" in groups:
        pairs = [("generated", name) for name in groups if name != "generated"]
    else:
        pairs = [(name, "original") for name in groups if name != "original"]
    found = []
    for name, reference in pairs:
        one = compare(measured, name, reference)
        if outcome(one, score, groups["original"].score.mean) == "undecided":
            enough = needed_to_decide(measured, one, score.equivalence_margin)
            one = one.model_copy(update={"needed": enough})
        found.append(one)
    return found


def _errors(evaluated: EvaluatedGroups, predictor: Predictor) -> Errors | None:
    """Count the errors of the originals; None if nothing is right or wrong."""
    wrong, truth = evaluated.measured.wrong("original"), predictor.test_truth
    if wrong is None:
        return None
    return Errors(
        median=float(wrong.sum(1).double().quantile(0.5)),
        num=wrong.shape[1],
        num_classes=None if truth is None else int(truth.max()) + 1,
    )


def _groups(evaluated: EvaluatedGroups, is_held_out_independent: bool) -> dict[str, Group]:
    measured, kept = evaluated.measured, evaluated.kept
    measured = replace(measured, is_held_out_independent=is_held_out_independent)
    groups = {name: group_record(measured, name) for name in measured.groups}
    if "generated" in groups:
        of_seeds = seed_records(
            measured, "generated", kept["generated"].vectors, kept["original"].vectors
        )
        groups["generated"] = groups["generated"].model_copy(
            update={"seeds": of_seeds, "validation": evaluated.standing}
        )
    for name, group in groups.items():
        method = method_of(name)
        update = {
            "method": method.name,
            "label": label_of(name),
            "phrase": phrase_of(name),
            "reference": method.reference or None,
            "finish": "batchnorm" if is_finished(name) else None,
        }
        groups[name] = group.model_copy(update=update)
    for name, one in evaluated.matched.items():
        groups[name] = groups[name].model_copy(
            update={"matched_to": one.axes, "validation": one.validation}
        )
    return groups


def _ensembles(
    evaluated: EvaluatedGroups, predictor: Predictor, seed: int
) -> dict[str, Ensembles]:
    """Ensembles of the groups that a user would choose from; none without probabilities."""
    found: dict[str, Ensembles] = {}
    if predictor.probabilities is None or predictor.test_truth is None:
        return found
    names = (
        groups_in("ensembles")
        if evaluated.race is None
        else ("original", *evaluated.race.finalists)
    )
    for name in names:
        if name in evaluated.kept:
            raw = evaluated.kept[name].raw
            rows = chosen_members(len(raw), seeded_generator(seed, name))
            found[name] = form_ensembles(
                predictor.probabilities(raw[rows]),
                predictor.test_truth,
                _validation(predictor, raw[rows]),
            )
    return found


def _validation(predictor: Predictor, raw: Tensor) -> Validation | None:
    """Return the examples that choose temperatures; None if they would also score them."""
    truth, probabilities = predictor.validation_truth, predictor.validation_probabilities
    if predictor.selects_on_test or probabilities is None or truth is None or not len(truth):
        return None
    return Validation(probabilities(raw), truth)


def _reconstruction(measured: GroupMetrics) -> Reconstruction | None:
    if "reconstructed" not in measured.groups:
        return None
    own = similarity_to_source(measured, "reconstructed")
    return Reconstruction(
        similarity_with_source=None if own is None else float(own.mean()),
        dispersion=measured.groups["reconstructed"].parameters.dispersion,
        score_difference=measured.mean_score("reconstructed") - measured.mean_score("original"),
    )


def _arrays(evaluated: EvaluatedGroups, predictor: Predictor) -> dict[str, Tensor]:
    """Collect the arrays of the figures; see ``schema.ARRAYS``."""
    measured = evaluated.measured
    arrays = {} if predictor.test_truth is None else {"truth": predictor.test_truth}
    for name, scored in measured.groups.items():
        if scored.predictions.labels is not None:
            arrays[f"labels/{name}"] = scored.predictions.labels
        arrays[f"score/{name}"] = measured.scores(name).float()
        arrays[f"validation/{name}"] = scored.predictions.validation.double().mean(1).float()
        similarities = maximum_similarities(measured, name)
        if similarities is not None:
            arrays[f"max_similarity/{name}"] = similarities
    if "generated" not in measured.groups:
        return arrays
    originals, made = measured.wrong("original"), measured.wrong("generated")
    if originals is not None and made is not None:
        originals = originals[:HEAT_MAP_ROWS]
        wrong = torch.cat([originals, made[:HEAT_MAP_ROWS]])
        arrays["similarity"] = similarity_matrix(wrong, wrong)
        arrays["similarity_num_original"] = torch.tensor([len(originals)])
    generated = evaluated.kept["generated"].vectors[:SHOWN_NETWORKS]
    zoo = evaluated.kept["original"].vectors
    coordinates = evenly_spaced(zoo.shape[1], SHOWN_COORDINATES)
    nearest = measured.groups["generated"].parameters.near_any.index[:SHOWN_NETWORKS]
    arrays["parameters/generated"] = generated[:, coordinates]
    arrays["parameters/nearest"] = zoo[nearest][:, coordinates]
    return arrays
