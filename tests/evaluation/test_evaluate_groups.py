"""Bad and small input: clear words, nothing that is not a number, no crash without a message."""

import json

import pytest
import torch

from paramdiff.errors import NotFiniteError, UserError
from paramdiff.evaluation.evaluation_file import write_evaluation
from paramdiff.evaluation.schema import ARRAYS_FILE, EVALUATION_FILE, Evaluation
from paramdiff.storage import read_tensors

from .linear import (
    LAYOUT,
    NUM_CLASSES,
    NUM_TEST,
    NUM_VALIDATION,
    SIZE,
    UNSURE,
    data,
    evaluated,
    good,
    labels,
    perfect_codec,
    predictor,
    typical,
    warnings,
)


def refuse(constant):
    raise AssertionError(constant)


def written(tmp_path, evaluation, arrays):
    """The evaluation is valid JSON without NaN, and so are the arrays."""
    write_evaluation(tmp_path, evaluation, arrays)
    content = json.loads((tmp_path / EVALUATION_FILE).read_text(), parse_constant=refuse)
    assert Evaluation.model_validate(content) == evaluation
    found = read_tensors(tmp_path / ARRAYS_FILE)
    assert found.keys() == arrays.keys()
    for name, array in found.items():
        assert torch.isfinite(array.double()).all(), name
    return evaluation


@pytest.mark.parametrize(
    ("num_originals", "num_generated", "num_held_out"),
    [(1, 5, 0), (5, 1, 0), (1, 1, 1), (2, 2, 0), (2, 12, 12), (3, 2, 30)],
)
@pytest.mark.parametrize(("num_runs", "fields"), [(1, {}), (3, UNSURE)])
def test_small_groups(tmp_path, num_originals, num_generated, num_held_out, num_runs, fields):
    evaluation = written(
        tmp_path,
        *evaluated(
            good(num_generated, 3),
            good(num_originals, 1),
            held_out=good(num_held_out, 2),
            latents=perfect_codec(),
            how=predictor(**fields),
            num_runs=num_runs,
        ),
    )
    assert ("held_out" in evaluation.groups) == (num_held_out > 0)
    left_out = evaluation.facts.get("Left out", "")
    for members in (2, 4, 8, 16, 64):
        is_made = num_originals >= members
        assert (f"average@{members}" in evaluation.groups) == is_made
        assert (f"average@{members} (needs {members} checkpoints)" in left_out) != is_made
    for name in ("interpolation", "swag@1.0", "kde"):
        assert (name in evaluation.groups) == (num_originals >= 2)
    assert evaluation.verdict.headline and evaluation.verdict.sentences


@pytest.mark.parametrize("num", [8, 30])
def test_equal_originals(tmp_path, num):
    """There is no spread to compare with; nothing is divided by it."""
    originals = good(1, 1).repeat(num, 1)
    evaluation = written(tmp_path, *evaluated(good(20, 3), originals))
    assert "all originals are equal" in warnings(evaluation)
    assert evaluation.groups["generated"].dispersion is None
    assert evaluation.trajectory is None
    assert evaluation.groups["generated"].copies == 0
    evaluation, _ = evaluated(originals[:5], originals)
    assert evaluation.verdict.headline.startswith("Copies")


def test_equal_generated_networks(tmp_path):
    generated = good(1, 3).repeat(20, 1)
    evaluation = written(tmp_path, *evaluated(generated))
    assert evaluation.groups["generated"].dispersion == 0
    assert evaluation.groups["generated"].pairwise_similarity == 1
    assert "collapse" in warnings(evaluation)


def with_labels(found):
    """Every network predicts the same, whatever its parameters."""
    _, truth = data()
    labels_of_all = found(truth)
    probabilities = torch.nn.functional.one_hot(labels_of_all[NUM_VALIDATION:], NUM_CLASSES)
    return predictor(
        labels=lambda vectors: labels_of_all.expand(len(vectors), -1),
        probabilities=lambda vectors: (probabilities.float() for _ in vectors),
    )


def test_a_perfect_zoo(tmp_path):
    evaluation = written(tmp_path, *evaluated(good(20, 3), how=with_labels(lambda truth: truth)))
    for group in evaluation.groups.values():
        assert group.score.mean == 1 and group.score.ci95 == (1, 1)
        assert group.max_similarity.mean == 1
    assert all(one.ci95 == (0, 0) == (one.difference,) * 2 for one in evaluation.comparisons)
    assert "only 0 errors" in warnings(evaluation)
    assert evaluation.verdict.headline.startswith("As good as")
    assert evaluation.ensembles["generated"][0].nll == 0


def test_a_zoo_without_a_right_answer(tmp_path):
    wrong = with_labels(lambda truth: (truth + 1) % NUM_CLASSES)
    evaluation = written(tmp_path, *evaluated(good(20, 3), how=wrong))
    assert evaluation.groups["original"].score.mean == 0
    assert "no better than chance" in warnings(evaluation)


def test_a_chance_level_zoo(tmp_path):
    constant = with_labels(torch.zeros_like)
    evaluation = written(tmp_path, *evaluated(good(20, 3), how=constant))
    assert "no better than chance" in warnings(evaluation)
    assert evaluation.verdict.headline.startswith("As good as")


def test_one_class_alone(tmp_path):
    _, truth = data()
    nothing = torch.zeros_like(truth)
    how = predictor(
        validation_truth=nothing[:NUM_VALIDATION],
        test_truth=nothing[NUM_VALIDATION:],
        labels=lambda vectors: nothing.expand(len(vectors), -1),
    )
    written(tmp_path, *evaluated(good(20, 3), how=how))


def test_checkpoints_in_double_precision(tmp_path):
    def double(seed):
        return torch.ones(SIZE, dtype=torch.float64) * seed

    evaluation = written(
        tmp_path,
        *evaluated(
            good(20, 3).double(),
            good(30, 1).double(),
            held_out=good(10, 2).double(),
            untrained=double,
            how=predictor(**UNSURE),
        ),
    )
    same, _ = typical()
    assert evaluation.groups["generated"].score == same.groups["generated"].score


@pytest.mark.parametrize("change", [-1, 1])
def test_predictions_of_the_wrong_length_are_refused(change):
    def wrong(vectors):
        found = labels(vectors)
        return found[:, :-1] if change < 0 else torch.cat([found, found[:, :1]], dim=1)

    with pytest.raises(UserError, match=f"'original'.*expected 500 .*found {500 + change}"):
        evaluated(good(20, 3), how=predictor(labels=wrong))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", ["originals", "generated", "held_out"])
def test_parameters_that_are_not_numbers_are_refused(name, value):
    given = {"originals": good(30, 1), "generated": good(20, 3), "held_out": good(10, 2)}
    given[name][3, 2] = value
    group = "original" if name == "originals" else name
    with pytest.raises(UserError, match=f"group '{group}': the parameters hold NaN or infinite"):
        evaluated(given.pop("generated"), given.pop("originals"), **given)


def test_logits_that_are_not_numbers_name_the_group():
    """What scores says which network it is; which group that belongs to is known here."""

    def scores(vectors):
        if len(vectors) == 20:
            raise UserError("parameter set 7: expected finite logits, found NaN or infinity")
        return labels(vectors)

    message = r"^group 'generated': parameter set 7: expected finite logits, found NaN"
    with pytest.raises(UserError, match=message):
        evaluated(good(20, 3), how=predictor(labels=scores))


def test_baselines_that_compute_no_numbers_are_left_out(tmp_path):
    """Here every single network is lost: the average of all, and the candidates of the soup."""

    def predict(vectors):
        if len(vectors) == 1:
            raise NotFiniteError("parameter set 0: expected finite logits, found NaN or infinity")
        return labels(vectors)

    evaluation = written(tmp_path, *evaluated(good(20, 3), how=predictor(labels=predict)))
    why = "(its networks compute NaN or infinite values)"
    lost = ("average@all", "greedy_soup", "top@5", "top@10", "karcher_mean", "best_checkpoint")
    for name in lost:
        assert name not in evaluation.groups
        assert f"{name} {why}" in evaluation.facts["Left out"]
    assert "average@64 (needs 64 checkpoints), " in evaluation.facts["Left out"]
    assert evaluation.facts["Left out"].count(why) == len(lost)
    assert {"gaussian@1.0", "average@16"} <= evaluation.groups.keys()
    assert evaluation.verdict.headline and "soup" not in " ".join(evaluation.verdict.sentences)


def test_random_networks_are_told():
    evaluation, _ = evaluated(good(20, 3), how=predictor(is_deterministic=False))
    assert "random at test time" in warnings(evaluation)


def test_without_probabilities_there_are_no_ensembles(tmp_path):
    evaluation = written(tmp_path, *typical())
    assert evaluation.ensembles == {} and evaluation.ensemble_comparisons == ()
    assert evaluation.ood is None and evaluation.recalibration == {}


def test_ensembles_hold_what_the_groups_can_fill():
    evaluation, arrays = evaluated(good(20, 3), how=predictor(**UNSURE))
    sizes = {
        name: [score.members for score in scores] for name, scores in evaluation.ensembles.items()
    }
    assert sizes == {
        "generated": [1, 2, 5, 10],
        "original": [1, 2, 5, 10, 30],
        "average@all": [1],
        "swag@1.0": [1, 2, 5, 10],
        "multiswag@1.0": [1, 2, 5, 10],
    }
    assert {f"reliability/{name}" for name in sizes} <= set(arrays)
    assert evaluation.ood.description == "points about the origin"
    assert evaluation.ensembles["original"][-1].ood_auroc > 0.6
    assert NUM_TEST == evaluation.num_test and SIZE == LAYOUT.num_parameters
