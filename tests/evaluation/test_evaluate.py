"""The whole evaluation on linear classifiers, with planted answers.

Vectors are the weights and biases of a classifier of points in the plane. Adding one number to the
weights of all classes changes no prediction: originals that differ by that alone are as good as
each other, but independent draws per coordinate destroy them.
"""

import json
from functools import cache

import pytest
import torch
from pydantic import ValidationError

from paramdiff.artefacts import read_tensors
from paramdiff.errors import UserError
from paramdiff.evaluation.baselines import BASELINES
from paramdiff.evaluation.evaluate import EvaluationSettings, Subject, evaluate
from paramdiff.evaluation.schema import ARRAYS, ARRAYS_FILE, EVALUATION_FILE, Evaluation
from paramdiff.experiment.assess import write_evaluation
from paramdiff.parameters.layout import ParameterLayout

NUM_CLASSES, NUM_FEATURES = 3, 4
STATE = {
    "weight": torch.zeros(NUM_CLASSES, NUM_FEATURES),
    "bias": torch.zeros(NUM_CLASSES),
}
LAYOUT = ParameterLayout.of(STATE, list(STATE))
SIZE = LAYOUT.num_parameters
NUM_VALIDATION, NUM_TEST = 100, 400


@cache
def data():
    """Noisy points whose best classifier is known: validation first, then test."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(NUM_CLASSES, (NUM_VALIDATION + NUM_TEST,), generator=generator)
    inputs = torch.randn(len(truth), NUM_FEATURES, generator=generator)
    inputs[torch.arange(len(truth)), truth] += 2.0
    return inputs, truth


def score(vectors):
    inputs, _ = data()
    weight = vectors[:, :-NUM_CLASSES].view(-1, NUM_CLASSES, NUM_FEATURES)
    logits = torch.einsum("mkd,ed->mek", weight, inputs) + vectors[:, None, -NUM_CLASSES:]
    return logits.argmax(2)


def good(num, seed, spread=0.25):
    """Classifiers about the best one, independent in every coordinate."""
    generator = torch.Generator().manual_seed(seed)
    best = LAYOUT.flatten({"weight": torch.eye(NUM_CLASSES, NUM_FEATURES), "bias": torch.zeros(3)})
    return best + spread * torch.randn(num, SIZE, generator=generator)


def shifted(num, seed):
    """Good classifiers, each with a large number added to all classes alike."""
    generator = torch.Generator().manual_seed(seed + 1000)
    weight = 3.0 * torch.randn(num, 1, NUM_FEATURES, generator=generator)
    weight = weight.expand(-1, NUM_CLASSES, -1).flatten(1)
    bias = 3.0 * torch.randn(num, 1, generator=generator).expand(-1, NUM_CLASSES)
    return good(num, seed, 0.1) + torch.cat([weight, bias], dim=1)


def subject(generated, originals=None, **kwargs):
    defaults = {
        "layout": LAYOUT,
        "originals": good(30, 1) if originals is None else originals,
        "held_out": good(10, 2),
        "generated": generated,
        "reconstructed": None,
        "hold_out": "run",
        "single_trajectory": False,
        "title": "linear classifiers",
        "facts": {"Task": "points"},
    }
    return Subject(**{**defaults, **kwargs})


def evaluated(generated, originals=None, seed=0, **kwargs):
    _, truth = data()
    return evaluate(
        subject(generated, originals, **kwargs),
        score,
        truth[:NUM_VALIDATION],
        truth[NUM_VALIDATION:],
        EvaluationSettings(seed=seed),
    )


def to(evaluation, reference):
    return next(one for one in evaluation.comparisons if one.reference == reference)


def of_spread(evaluation, family):
    """The comparisons to a family's members that spread as widely as the generated networks."""
    dispersion = evaluation.groups["generated"].dispersion
    return [
        one
        for one in evaluation.comparisons
        if one.reference.startswith(family)
        and one.reference_dispersion is not None
        and abs(one.reference_dispersion - dispersion) < 0.1
    ]


def words(evaluation):
    verdict = evaluation.verdict
    return " ".join([verdict.headline, *verdict.sentences]).lower()


def warnings(evaluation):
    return " ".join(evaluation.verdict.warnings).lower()


# ---- planted answers


def test_copies_are_as_good_as_the_originals_and_nothing_new():
    originals = good(30, 1)
    evaluation, _ = evaluated(originals.flip(0), originals)
    generated = evaluation.groups["generated"]
    assert generated.max_similarity.mean == pytest.approx(1)
    assert generated.min_distance.max == 0
    assert generated.dispersion == pytest.approx(1)
    assert generated.accuracy.mean == pytest.approx(evaluation.groups["original"].accuracy.mean)
    comparison = to(evaluation, "original")
    assert comparison.difference == pytest.approx(0, abs=1e-6)
    assert comparison.ci95[0] < 0 < comparison.ci95[1]
    assert "as good as" in words(evaluation)
    assert "collapse" not in warnings(evaluation)
    # an original, by contrast, is compared with others only
    assert evaluation.groups["original"].max_similarity.mean < 0.99
    assert evaluation.groups["original"].min_distance.min > 0


def test_the_average_and_a_whisper_is_a_collapse():
    originals = good(30, 1)
    generated = originals.mean(0) + 0.01 * torch.randn(20, SIZE)
    evaluation, _ = evaluated(generated, originals)
    assert evaluation.groups["generated"].dispersion < 0.1
    assert "collapse" in warnings(evaluation)
    # better than the originals, and that is the trap: the average is as good
    assert to(evaluation, "original").ci95[0] > 0
    average = to(evaluation, "average@all")
    assert average.ci95[0] <= 0 <= average.ci95[1]
    assert "as good as" in words(evaluation)


@pytest.mark.parametrize(("spread", "warns"), [(0.7, True), (0.9, False), (1.1, False)])
def test_collapse_is_told_below_0_8(spread, warns):
    originals = good(30, 1)
    generated = originals.mean(0) + spread * (originals - originals.mean(0))
    evaluation, _ = evaluated(generated, originals)
    assert evaluation.groups["generated"].dispersion == pytest.approx(spread, rel=1e-4)
    assert ("collapse" in warnings(evaluation)) == warns


def test_draws_from_the_fitted_gaussian_are_as_good_as_a_gaussian():
    originals = good(30, 1)
    generated = originals.mean(0) + originals.std(0) * torch.randn(30, SIZE)
    evaluation, _ = evaluated(generated, originals)
    rivals = of_spread(evaluation, "gaussian")
    assert rivals
    assert all(one.ci95[0] <= 0 <= one.ci95[1] for one in rivals)
    assert "as good as" in evaluation.verdict.headline.lower()
    assert "better than" not in evaluation.verdict.headline.lower()
    assert "collapse" not in warnings(evaluation)


def test_what_knows_how_parameters_hang_together_beats_a_gaussian():
    evaluation, _ = evaluated(shifted(30, 5), shifted(30, 6), held_out=shifted(10, 7))
    rivals = of_spread(evaluation, "gaussian")
    assert rivals
    assert all(one.ci95[0] > 0.1 for one in rivals)
    original = to(evaluation, "original")
    assert original.ci95[0] <= 0 <= original.ci95[1]


def test_broken_networks_are_worse_than_everything():
    evaluation, _ = evaluated(-good(20, 3))
    assert all(one.ci95[1] < 0 for one in evaluation.comparisons)
    assert "worse than" in words(evaluation)
    assert "as good as" not in words(evaluation)


# ---- what is measured


def test_groups_and_comparisons():
    evaluation, _ = evaluated(good(20, 3), reconstructed=good(30, 1))
    groups = {"original", "generated", "held_out", "reconstructed"}
    possible = {baseline.name for baseline in BASELINES if baseline.min_originals <= 30}
    assert groups | possible <= set(evaluation.groups)
    assert "average@64" not in evaluation.groups
    assert evaluation.facts["Left out"] == "average@64 (needs 64 checkpoints)"
    assert [one.group for one in evaluation.comparisons] == ["generated"] * (
        len(evaluation.groups) - 1
    )
    assert {one.reference for one in evaluation.comparisons} == set(evaluation.groups) - {
        "generated"
    }
    assert evaluation.groups["original"].n == 30
    assert evaluation.groups["noise@0.05"].n == evaluation.groups["generated"].n == 20
    assert evaluation.groups["noise@0.05"].max_similarity_with_source is not None
    assert (evaluation.num_test, evaluation.num_validation) == (NUM_TEST, NUM_VALIDATION)


def test_accuracies_are_the_scores_on_the_test_split():
    originals = good(30, 1)
    evaluation, arrays = evaluated(good(20, 3), originals)
    _, truth = data()
    correct = score(originals)[:, NUM_VALIDATION:] == truth[NUM_VALIDATION:]
    torch.testing.assert_close(arrays["accuracy/original"], correct.float().mean(1))
    found = evaluation.groups["original"].accuracy
    assert found.mean == pytest.approx(float(correct.double().mean()), abs=1e-6)
    for group in evaluation.groups.values():
        assert group.accuracy.ci95[0] <= group.accuracy.mean <= group.accuracy.ci95[1]
        assert 0 <= group.accuracy.min <= group.accuracy.median <= group.accuracy.max <= 1


def test_the_fair_opponent_spreads_as_widely_as_what_is_generated():
    originals = good(30, 1)
    generated = originals.mean(0) + 0.63 * (originals - originals.mean(0))
    evaluation, _ = evaluated(generated, originals)
    assert evaluation.groups["gaussian@0.63"].dispersion == pytest.approx(0.63, rel=0.2)


def test_a_perfect_reconstruction():
    originals = good(30, 1)
    evaluation, _ = evaluated(good(20, 3), originals, reconstructed=originals)
    reconstruction = evaluation.reconstruction
    assert reconstruction.similarity_with_source == pytest.approx(1)
    assert reconstruction.dispersion == pytest.approx(1)
    assert reconstruction.accuracy_difference == pytest.approx(0, abs=1e-6)
    assert "reconstructed" not in evaluation.best_of_n


def test_a_reconstruction_is_compared_with_its_own_source():
    """In another order the same networks overlap less."""
    originals = good(30, 1)
    evaluation, _ = evaluated(good(20, 3), originals, reconstructed=originals.roll(1, 0))
    assert evaluation.reconstruction.similarity_with_source < 0.9


def test_the_best_is_of_equally_many():
    evaluation, _ = evaluated(good(20, 3))
    assert {best.n for best in evaluation.best_of_n.values()} == {20}
    assert {"original", "generated"} <= set(evaluation.best_of_n)
    assert "average@all" not in evaluation.best_of_n  # only one
    assert "held_out" not in evaluation.best_of_n  # only ten


def test_one_training_run_is_told():
    evaluation, _ = evaluated(good(20, 3), single_trajectory=True, hold_out="tail")
    assert "one training run" in warnings(evaluation)
    assert "tail" in warnings(evaluation)
    evaluation, _ = evaluated(good(20, 3))
    assert "one training run" not in warnings(evaluation)


def test_seeds_determine_everything():
    one, same, other = (evaluated(good(20, 3), seed=seed)[0] for seed in (4, 4, 5))
    assert one == same
    assert one.groups["original"].accuracy.mean == other.groups["original"].accuracy.mean
    assert one.groups["original"].accuracy.ci95 != other.groups["original"].accuracy.ci95
    assert one.groups["noise@0.15"].min_distance != other.groups["noise@0.15"].min_distance


def test_what_is_evaluated_is_not_changed():
    given = subject(good(20, 3), reconstructed=good(30, 1))
    before = {
        name: getattr(given, name).clone()
        for name in ("originals", "generated", "held_out", "reconstructed")
    }
    _, truth = data()
    settings = EvaluationSettings()
    evaluate(given, score, truth[:NUM_VALIDATION], truth[NUM_VALIDATION:], settings)
    assert all(getattr(given, name).equal(tensor) for name, tensor in before.items())


def test_progress_ends_with_all():
    seen = []
    _, truth = data()
    evaluation, _ = evaluate(
        subject(good(20, 3)),
        score,
        truth[:NUM_VALIDATION],
        truth[NUM_VALIDATION:],
        EvaluationSettings(),
        lambda done, total: seen.append((done, total)),
    )
    total = sum(group.n for group in evaluation.groups.values())
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


@pytest.mark.parametrize("change", [-1, 1])
def test_predictions_of_the_wrong_length_are_refused(change):
    _, truth = data()

    def wrong(vectors):
        labels = score(vectors)
        return labels[:, :-1] if change < 0 else torch.cat([labels, labels[:, :1]], dim=1)

    with pytest.raises(UserError, match=f"'original'.*expected 500 .*found {500 + change}"):
        evaluate(
            subject(good(20, 3)),
            wrong,
            truth[:NUM_VALIDATION],
            truth[NUM_VALIDATION:],
            EvaluationSettings(),
        )


# ---- small groups, and what is written


@pytest.mark.parametrize(
    ("num_originals", "num_generated", "num_held_out"),
    [(1, 5, 0), (5, 1, 0), (1, 1, 1), (2, 2, 0), (30, 20, 10)],
)
def test_what_is_written_is_valid_without_nan(
    tmp_path, num_originals, num_generated, num_held_out
):
    originals = good(num_originals, 1)
    evaluation, arrays = evaluated(
        good(num_generated, 3), originals, held_out=good(num_held_out, 2), reconstructed=originals
    )
    write_evaluation(tmp_path, evaluation, arrays)

    def refuse(constant):
        raise AssertionError(constant)

    text = (tmp_path / EVALUATION_FILE).read_text()
    content = json.loads(text, parse_constant=refuse)
    assert content["schema"] == 1
    assert Evaluation.model_validate(content) == evaluation
    assert ("held_out" in evaluation.groups) == (num_held_out > 0)
    found = read_tensors(tmp_path / ARRAYS_FILE)
    assert found.keys() == arrays.keys()
    for name, array in found.items():
        assert torch.isfinite(array.double()).all(), name


def test_arrays_are_as_documented():
    evaluation, arrays = evaluated(good(20, 3))
    documented = {name.replace("GROUP", "") for name in ARRAYS}
    for name in arrays:
        assert name in documented or f"{name.split('/')[0]}/" in documented, name
    for name, group in evaluation.groups.items():
        assert arrays[f"labels/{name}"].shape == (group.n, NUM_TEST)
        assert arrays[f"accuracy/{name}"].shape == (group.n,)
        assert arrays[f"max_similarity/{name}"].mean().item() == pytest.approx(
            group.max_similarity.mean
        )
    assert arrays["truth"].equal(data()[1][NUM_VALIDATION:])
    assert arrays["similarity"].shape == (50, 50)
    assert arrays["similarity_num_original"].item() == 30
    assert arrays["similarity"].diagonal().eq(1).all()
    assert arrays["parameters/generated"].shape == arrays["parameters/nearest"].shape == (4, SIZE)


def test_the_nearest_original_of_a_copy_is_drawn_beside_it():
    originals = good(30, 1)
    _, arrays = evaluated(originals[[7, 3, 12, 1, 0]], originals)
    assert arrays["parameters/generated"].equal(arrays["parameters/nearest"])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_no_number_can_be_nan(value):
    evaluation, _ = evaluated(good(20, 3))
    content = json.loads(json.dumps(evaluation.model_dump(mode="json", by_alias=True)))
    Evaluation.model_validate(content)
    content["groups"]["generated"]["dispersion"] = value
    with pytest.raises(ValidationError, match=r"groups\.generated\.dispersion"):
        Evaluation.model_validate(content)
