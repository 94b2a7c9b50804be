"""What stands beside a generator that used training data saw exactly as much of it."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from paramdiff.errors import NotFiniteError
from paramdiff.evaluation.data_use import DataBudget, DataUse
from paramdiff.evaluation.fine_tuning import LEARNING_RATES
from paramdiff.evaluation.rivals import AVERAGE, ORIGINALS, RIVALS, Rivalry
from paramdiff.parameters.normalisation import fit_normalisation
from paramdiff.progress import ignore_report

from .linear import LAYOUT, UNSURE, behaviour, evaluated, good, shifted, to, training, words

NUM_RATES = len(LEARNING_RATES)


def rivalry(originals, images_seen=640, uses="labels", **fields):
    defaults = {
        "originals": originals,
        "normalisation": fit_normalisation(originals, LAYOUT),
        "examples": training(),
        "budget": DataBudget(images_seen, uses),
        "seed": 0,
        "report": ignore_report,
    }
    return Rivalry(**{**defaults, **fields})


def training_loss(vector):
    examples = training()
    return F.cross_entropy(
        examples.logits(vector, torch.arange(len(examples.labels))), examples.labels
    )


def counting():
    """Examples that count how many of them a network is trained on."""
    seen = []

    def logits(vector, rows):
        if vector.requires_grad:
            seen.append(len(rows))
        return training().logits(vector, rows)

    return replace(training(), logits=logits), seen


@pytest.mark.parametrize("uses", ["inputs", "labels"])
@pytest.mark.parametrize("images_seen", [1, 77, 640, 1003])
def test_images_add_up(images_seen, uses):
    """The learning rate is chosen by the first network alone."""
    num = min(10, images_seen)
    first = images_seen // num + (images_seen % num > 0)
    expected = {
        AVERAGE: NUM_RATES * images_seen,
        ORIGINALS: images_seen + (NUM_RATES - 1) * first,
    }
    heard = []
    for name in RIVALS:
        examples, seen = counting()
        made = rivalry(
            good(12, 1),
            images_seen,
            uses,
            examples=examples,
            report=lambda work, done, total: heard.append((work, done, total)),
        ).make(name, 20)
        assert sum(seen) == expected[name]
        assert made.data == DataUse(uses, "training", images_seen)
        assert len(made.raw) == (1 if name == AVERAGE else num)
        assert heard[-1][0] == f"training {name}" and heard[-1][1] == heard[-1][2] == len(seen)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("images_seen", [64, 6400])
def test_training_goes_down_hill(seed, images_seen):
    originals = good(12, seed, spread=0.6)
    given = rivalry(originals, images_seen)
    average = given.make(AVERAGE, 20)
    assert training_loss(average.raw[0]) <= training_loss(originals.mean(0))
    each = given.make(ORIGINALS, 20)
    before, after = (
        torch.stack([training_loss(one) for one in group])
        for group in (originals[each.source], each.raw)
    )
    assert after.mean() < before.mean()


def test_originals_are_evenly_spaced_and_no_more_than_are_generated():
    made = rivalry(good(12, 1)).make(ORIGINALS, 4)
    assert made.source.tolist() == [0, 3, 7, 11]
    assert rivalry(good(3, 1)).make(ORIGINALS, 20).source.tolist() == [0, 1, 2]


def test_validation_data_choose_the_learning_rate():
    for number, rate in enumerate(LEARNING_RATES):
        asked = []

        def loss(raw, asked=asked, number=number):
            asked.append(raw)
            return torch.tensor([-1.0 if len(asked) == number + 1 else 0.0])

        given = rivalry(good(12, 1), examples=replace(training(), validation_loss=loss))
        given.make(AVERAGE, 20)
        assert given.rates == {AVERAGE: rate}
        assert f"validation loss chose {rate} for {AVERAGE}" in str(given.facts())


def test_a_learning_rate_that_diverges_is_passed_over():
    start = good(12, 1)

    def logits(vector, rows):
        far = (vector - start.mean(0)).abs().max() > 0.02
        return training().logits(vector, rows) * (torch.nan if far else 1.0)

    given = rivalry(start, examples=replace(training(), logits=logits))
    assert given.make(AVERAGE, 20).raw.isfinite().all()
    assert given.rates[AVERAGE] == LEARNING_RATES[0]
    broken = replace(training(), logits=lambda vector, rows: logits(vector, rows) * torch.nan)
    with pytest.raises(NotFiniteError):
        rivalry(start, examples=broken).make(AVERAGE, 20)


# ---- in an evaluation


FAULTY = {"shift": 1.0, "spread": 0.2, "fault": 1.2}


def beside_data(uses="labels", how=None, **fields):
    """Generated networks that know more than the originals; all originals favour one class."""
    return evaluated(
        shifted(30, 5, 1.0, 0.2),
        shifted(30, 6, **FAULTY),
        held_out=shifted(10, 7, **FAULTY),
        how=how or behaviour(training=training(), **UNSURE),
        data_budget=DataBudget(6400, uses),
        **fields,
    )


@pytest.fixture(scope="module")
def typical():
    return beside_data()[0]


def test_rivals_stand_beside_the_generated_networks(typical):
    groups = typical.groups
    assert {name: groups[name].n for name in RIVALS} == {AVERAGE: 1, ORIGINALS: 10}
    for name in ("generated", *RIVALS):
        assert groups[name].data == DataUse("labels", "training", 6400)
    assert groups["greedy_soup"].data == DataUse("labels", "validation", None)
    assert groups[AVERAGE].accuracy.mean > groups["average@all"].accuracy.mean + 0.05
    assert groups[ORIGINALS].max_similarity_with_source is not None
    free = {point.group for found in typical.frontier.values() for point in found.points}
    assert not free & {*RIVALS, "greedy_soup"}
    assert [score.members for score in typical.ensembles[ORIGINALS]] == [1, 2, 5, 10]
    compared = {(one.reference, one.members) for one in typical.ensemble_comparisons}
    assert (ORIGINALS, 10) in compared
    assert "validation loss chose" in typical.facts["Fine-tuned for comparison"]


def test_the_verdict_tells_who_had_more_to_go_by(typical):
    """Expected: better than what is free, and worse than an average with as much data."""
    verdict = typical.verdict
    assert verdict.headline == (
        "Better than every free alternative that is as unlike the originals, using training "
        "labels; worse than the fine-tuned average with as many."
    )
    (told,) = (one for one in verdict.sentences if "used no data" in one)
    assert "the generator labels of 6,400 training examples. Beside what saw as many" in told
    for name in RIVALS:
        assert f"{100 * to(typical, name).difference:+.2f} points" in told


def test_a_generator_without_data_has_no_such_rivals():
    evaluation, _ = evaluated(good(20, 3), how=behaviour(training=training()))
    assert not {*RIVALS} & set(evaluation.groups)
    assert evaluation.groups["generated"].data == DataUse()
    assert "Fine-tuned for comparison" not in evaluation.facts
    assert "used no data" not in words(evaluation)


def test_without_a_training_split_the_rivals_are_left_out_and_the_data_told():
    evaluation, _ = beside_data("inputs", how=behaviour())
    assert "fine_tuned_average (needs a classification task)" in evaluation.facts["Left out"]
    assert evaluation.verdict.headline.endswith(", using training inputs.")
    assert "nothing that saw as many could be put beside it" in words(evaluation)
