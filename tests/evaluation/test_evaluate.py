"""The whole evaluation on linear classifiers: groups, comparisons, arrays, what is written."""

import json

import pytest
import torch
from pydantic import ValidationError

from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_file import write_evaluation
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.inputs import LatentSpace
from paramdiff.evaluation.schema import ARRAYS, ARRAYS_FILE, EVALUATION_FILE, Evaluation
from paramdiff.storage import read_tensors
from tests.methods.contexts import MEMBERS

from .linear import (
    NUM_TEST,
    NUM_VALIDATION,
    SIZE,
    UNSURE,
    data,
    evaluated,
    good,
    inputs_of,
    labels,
    perfect_codec,
    predictor,
    trajectory,
    warnings,
)


@pytest.fixture(scope="module")
def typical():
    """20 fresh classifiers against 30: with a codec, probabilities and foreign points."""
    return evaluated(
        good(20, 3),
        how=predictor(**UNSURE),
        latents=perfect_codec(),
        steps=torch.arange(30),
        base=good(1, 9)[0],
    )


def test_groups_and_comparisons(typical):
    evaluation, _ = typical
    groups = {"original", "generated", "held_out", "reconstructed"}
    possible = {member.name for member in MEMBERS if member.min_originals <= 30}
    assert groups | possible <= set(evaluation.groups)
    assert list(evaluation.groups)[:4] == ["original", "generated", "held_out", "reconstructed"]
    assert "average@64" not in evaluation.groups
    assert evaluation.facts["Left out"] == "average@64 (needs 64 checkpoints)"
    assert {one.group for one in evaluation.comparisons} == {"generated"}
    references = [one.reference for one in evaluation.comparisons]
    assert sorted(references) == sorted(set(evaluation.groups) - {"generated"})
    assert evaluation.groups["original"].n == 30
    assert evaluation.groups["noise@0.05"].n == evaluation.groups["generated"].n == 20
    assert evaluation.groups["average@all"].n == evaluation.groups["greedy_soup"].n == 1
    assert evaluation.groups["noise@0.05"].max_similarity_with_source is not None
    assert evaluation.groups["gaussian@1.0"].max_similarity_with_source is None
    assert (evaluation.num_test, evaluation.num_validation) == (NUM_TEST, NUM_VALIDATION)
    free = {point.group for found in evaluation.frontier.values() for point in found.points}
    for name in ("greedy_soup", "top@5", "swag@validation", "wise_ft@validation"):
        assert evaluation.groups[name].data_used == "labels"
        assert name not in free
        assert evaluation.groups[name].validation is None
    for name in ("last@5", "ema@0.9", "power_ema@0.1", "decayed@cosine", "wise_ft@0.5"):
        assert evaluation.groups[name].validation is not None
    assert "of 0.1, 0.25, 0.5, 0.75, 1.0, by" in evaluation.facts["swag@validation is at"]


def test_without_the_network_untrained_values_are_left_out():
    evaluation, _ = evaluated(good(20, 3), untrained=None)
    assert "random" not in evaluation.groups
    assert "random (needs the network)" in evaluation.facts["Left out"]


def test_accuracies_are_the_scores_on_the_test_split(typical):
    evaluation, arrays = typical
    _, truth = data()
    correct = labels(good(30, 1))[:, NUM_VALIDATION:] == truth[NUM_VALIDATION:]
    torch.testing.assert_close(arrays["score/original"], correct.float().mean(1))
    found = evaluation.groups["original"].score
    assert found.mean == pytest.approx(float(correct.double().mean()), abs=1e-12)
    for group in evaluation.groups.values():
        assert group.score.ci95[0] <= group.score.mean <= group.score.ci95[1]
        assert 0 <= group.score.min <= group.score.median <= group.score.max <= 1


def test_the_soup_is_never_below_the_best_original_on_validation_data():
    """Tested on what it was selected on."""
    _, truth = data()

    def on_validation(vectors):
        return labels(vectors)[:, :NUM_VALIDATION].repeat(1, 2)

    for seed in range(3):
        how = predictor(labels=on_validation, test_truth=truth[:NUM_VALIDATION])
        evaluation, _ = evaluated(good(2, 3), good(30, seed), how=how)
        best = evaluation.groups["original"].score.max
        assert evaluation.groups["greedy_soup"].score.mean >= best


def test_every_family_is_made_at_the_generated_networks_dispersion():
    originals = good(30, 1)
    generated = originals.mean(0) + 0.63 * (originals - originals.mean(0))
    evaluation, _ = evaluated(generated, originals)
    matched = {
        name: group
        for name, group in evaluation.groups.items()
        if "dispersion" in group.matched_to and name.startswith(("gaussian@", "gaussian_full@"))
    }
    assert len(matched) == 2
    for name, group in matched.items():
        assert group.dispersion == pytest.approx(0.63, rel=0.2), name


def test_a_perfect_reconstruction(typical):
    evaluation, _ = typical
    reconstruction = evaluation.reconstruction
    assert reconstruction.similarity_with_source == pytest.approx(1)
    assert reconstruction.dispersion == pytest.approx(1)
    assert reconstruction.score_difference == 0
    assert "reconstructed" not in evaluation.best_of_n
    assert "reconstructed" not in {
        point.group for point in evaluation.frontier["max_similarity"].points
    }


def test_a_reconstruction_is_compared_with_its_own_source():
    """In another order the same networks overlap less."""
    rolled = LatentSpace(lambda vectors: vectors, lambda latents: latents.roll(1, 0))
    evaluation, _ = evaluated(good(20, 3), latents=rolled)
    assert evaluation.reconstruction.similarity_with_source < 0.9


def test_without_a_codec_nothing_is_reconstructed_and_components_stand_for_latents():
    evaluation, _ = evaluated(good(20, 3))
    assert evaluation.reconstruction is None
    assert "kde" in evaluation.groups


def test_the_best_is_of_equally_many(typical):
    evaluation, _ = typical
    assert {best.n for best in evaluation.best_of_n.values()} == {20}
    assert {"original", "generated"} <= set(evaluation.best_of_n)
    assert "average@all" not in evaluation.best_of_n  # only one
    assert "held_out" not in evaluation.best_of_n  # only ten


def test_one_training_run_is_told_and_not_tested_for_copies():
    originals = trajectory(40, 1)
    evaluation, _ = evaluated(
        good(20, 3), originals[:30], held_out=originals[30:], num_runs=1, hold_out="tail"
    )
    assert evaluation.single_trajectory
    assert evaluation.trajectory.p_value == pytest.approx(0.001)
    assert "one training run" in warnings(evaluation) and "tail" in warnings(evaluation)
    assert all(group.z_u is None for group in evaluation.groups.values())
    assert not any(name.startswith("multiswag") for name in evaluation.groups)


def test_several_runs_are_tested_for_copies():
    evaluation, _ = evaluated(
        good(20, 3), good(30, 1), num_runs=15, held_out_runs=100 + torch.arange(10)
    )
    assert not evaluation.single_trajectory
    assert {"multiswag@0.5", "multiswag@1.0", "multiswag@1.5"} <= set(evaluation.groups)
    assert "one training run" not in warnings(evaluation)
    tested = {name for name, group in evaluation.groups.items() if group.z_u is not None}
    assert {"generated", "gaussian@1.0", "noise@0.05"} <= tested
    assert not {"original", "held_out", "average@all", "greedy_soup"} & tested
    assert evaluation.groups["noise@0.001"].z_u.parameters < -4  # these are copies
    assert abs(evaluation.groups["generated"].z_u.parameters) < 3.5


def test_evenly_spaced_ones_of_several_runs_are_no_independent_ones():
    evaluation, _ = evaluated(good(20, 3), hold_out="spaced")
    assert evaluation.hold_out == "spaced" and not evaluation.single_trajectory
    assert all(group.z_u is None for group in evaluation.groups.values())


def test_one_run_in_no_order_is_no_trajectory():
    """A folder of networks that were trained independently is one run, as far as files tell."""
    evaluation, _ = evaluated(good(20, 3), num_runs=1, hold_out="tail")
    assert evaluation.trajectory.p_value > 0.01
    assert not evaluation.single_trajectory
    assert evaluation.groups["generated"].z_u is None  # independence is nowhere written


def test_generator_seeds_are_told_apart():
    seeds = torch.arange(20) // 10
    generated = torch.cat([good(10, 3), good(1, 3).repeat(10, 1)])
    evaluation, _ = evaluated(generated, generator_seeds=seeds)
    found = evaluation.groups["generated"].seeds
    assert [found[seed].n for seed in ("0", "1")] == [10, 10]
    assert found["0"].dispersion > 0.8 and found["1"].dispersion == 0
    assert found["1"].pairwise_similarity == 1
    assert evaluation.groups["original"].seeds is None


def test_seeds_determine_everything():
    generated = good(20, 3)
    one, same, other = (evaluated(generated, seed=seed)[0] for seed in (4, 4, 5))
    assert one == same
    assert one.groups["original"].score.mean == other.groups["original"].score.mean
    assert one.groups["original"].score.ci95 != other.groups["original"].score.ci95
    assert one.groups["noise@0.15"].min_distance != other.groups["noise@0.15"].min_distance


def test_what_is_evaluated_is_not_changed():
    given = inputs_of(good(20, 3), latents=perfect_codec())
    before = {
        name: getattr(given, name).clone() for name in ("originals", "generated", "held_out")
    }
    evaluate(given, predictor(), EvaluationSettings())
    assert all(getattr(given, name).equal(tensor) for name, tensor in before.items())


def test_progress_grows_to_the_end():
    seen = []
    evaluation, _ = evaluate(
        inputs_of(good(20, 3)),
        predictor(),
        EvaluationSettings(),
        lambda stage, done, total: seen.append((done, total)),
    )
    # every network once, the pilots, and the greedy soup's attempts
    assert seen[-1][0] == seen[-1][1]
    assert seen[-1][0] > sum(group.n for group in evaluation.groups.values()) + 29
    assert all(done <= expected for done, expected in seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


# ---- what is written


def test_what_is_written_can_be_read_again(tmp_path, typical):
    evaluation, arrays = typical
    write_evaluation(tmp_path, evaluation, arrays)
    content = json.loads((tmp_path / EVALUATION_FILE).read_text())
    assert content["schema"] == 3
    assert Evaluation.model_validate(content) == evaluation
    found = read_tensors(tmp_path / ARRAYS_FILE)
    assert found.keys() == arrays.keys()


def test_arrays_are_as_documented(typical):
    evaluation, arrays = typical
    documented = {name.replace("GROUP", "") for name in ARRAYS}
    for name in arrays:
        assert name in documented or f"{name.split('/')[0]}/" in documented, name
    for name, group in evaluation.groups.items():
        assert arrays[f"labels/{name}"].shape == (group.n, NUM_TEST)
        assert arrays[f"score/{name}"].shape == (group.n,)
        assert arrays[f"max_similarity/{name}"].mean().item() == pytest.approx(
            group.max_similarity.mean
        )
    assert arrays["truth"].equal(data()[1][NUM_VALIDATION:])
    assert arrays["similarity"].shape == (50, 50)
    assert arrays["similarity_num_original"].item() == 30
    assert arrays["similarity"].diagonal().eq(1).all()
    assert arrays["parameters/generated"].shape == arrays["parameters/nearest"].shape == (4, SIZE)
    assert arrays["reliability/generated"].shape[0] == 2


def test_the_nearest_original_of_a_copy_is_drawn_beside_it():
    originals = good(30, 1)
    _, arrays = evaluated(originals[[7, 3, 12, 1, 0]], originals)
    assert arrays["parameters/generated"].equal(arrays["parameters/nearest"])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_no_number_can_be_nan(value, typical):
    evaluation, _ = typical
    content = json.loads(json.dumps(evaluation.model_dump(mode="json", by_alias=True)))
    Evaluation.model_validate(content)
    content["groups"]["generated"]["dispersion"] = value
    with pytest.raises(ValidationError, match=r"(?s)groups\.generated\b.*\bdispersion"):
        Evaluation.model_validate(content)
