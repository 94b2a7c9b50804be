"""Data-matched baselines saw exactly as much training data as the generator."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from paramdiff.errors import NotFiniteError
from paramdiff.methods.data_matched import FINE_TUNED_AVERAGE, FINE_TUNED_ORIGINALS
from paramdiff.methods.data_matched_training import (
    NUM_CHOOSING,
    NUM_ORDERS,
    DataMatchedTraining,
)
from paramdiff.methods.data_use import DataBudget, DataUse
from paramdiff.methods.draws import Draws
from paramdiff.methods.finetuning import FURTHER_RATES, LEARNING_RATES
from paramdiff.parameters.normalization import fit_normalization
from paramdiff.progress import ignore_progress
from tests.methods.contexts import context

from .linear import LAYOUT, UNSURE, evaluated, good, predictor, shifted, to, training, words

AVERAGE, ORIGINALS = FINE_TUNED_AVERAGE.name, FINE_TUNED_ORIGINALS.name
DATA_MATCHED = (AVERAGE, ORIGINALS)


def training_on(originals, images_seen=640, uses="labels", **fields):
    defaults = {
        "originals": originals,
        "normalization": fit_normalization(originals, LAYOUT),
        "examples": training(),
        "budget": DataBudget(images_seen, uses),
        "seed": 0,
        "progress": ignore_progress,
    }
    return DataMatchedTraining(**{**defaults, **fields})


def made(by, name, count=20):
    """The samples of a data-matched baseline."""
    method = FINE_TUNED_AVERAGE if name == AVERAGE else FINE_TUNED_ORIGINALS
    given = replace(context(), normalization=by.normalization, data_matched=by)
    return method.at(None).sample(given, Draws(count, 0))


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
@pytest.mark.parametrize("images_seen", [1, 77, 640])
def test_images_add_up(images_seen, uses):
    """Each average sees as many as the generator, and so do the originals together; the first few
    networks see them once for each rate that is tried."""
    num = min(10, images_seen)
    shares = [images_seen // num + (number < images_seen % num) for number in range(num)]
    heard = []
    for name, each in ((AVERAGE, [images_seen] * NUM_ORDERS), (ORIGINALS, shares)):
        examples, seen = counting()
        given = training_on(
            good(12, 1),
            images_seen,
            uses,
            examples=examples,
            progress=lambda work, done, total: heard.append((work, done, total)),
        )
        samples = made(given, name, 20)
        num_rates = len(given.tried[name])
        assert sum(seen) == sum(each) + (num_rates - 1) * sum(each[:NUM_CHOOSING])
        assert samples.data_used == DataUse(uses, "training", images_seen)
        assert len(samples.raw) == len(each)
        assert heard[-1] == (f"training {name}", len(seen), len(seen))


def test_every_average_has_an_order_of_examples_of_its_own():
    """And each is another network, of which the interval covers the luck."""
    rows = []

    def logits(vector, drawn):
        if vector.requires_grad:
            rows.append(tuple(drawn.tolist()))
        return training().logits(vector, drawn)

    given = training_on(good(12, 1), 64, examples=replace(training(), logits=logits))
    samples = made(given, AVERAGE, 20)
    assert len(set(rows)) == NUM_ORDERS  # one batch each, the same at every rate
    assert len(samples.raw.unique(dim=0)) == NUM_ORDERS and samples.source is None
    again = made(training_on(good(12, 1), 64), AVERAGE, 20)
    assert again.raw.equal(samples.raw)
    assert not made(training_on(good(12, 1), 64, seed=1), AVERAGE, 20).raw.equal(samples.raw)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("images_seen", [64, 6400])
def test_training_goes_down_hill(seed, images_seen):
    originals = good(12, seed, spread=0.6)
    given = training_on(originals, images_seen)
    average = made(given, AVERAGE, 20)
    assert training_loss(average.raw[0]) <= training_loss(originals.mean(0))
    each = made(given, ORIGINALS, 20)
    before, after = (
        torch.stack([training_loss(one) for one in group])
        for group in (originals[each.source], each.raw)
    )
    assert after.mean() < before.mean()


def test_originals_are_evenly_spaced_and_no_more_than_are_generated():
    samples = made(training_on(good(12, 1)), ORIGINALS, 4)
    assert samples.source.tolist() == [0, 3, 7, 11]
    assert made(training_on(good(3, 1)), ORIGINALS, 20).source.tolist() == [0, 1, 2]


RATES = sorted([*FURTHER_RATES[0], *LEARNING_RATES, *FURTHER_RATES[1]])


def judged(quality, loss=lambda rate: 0.0):
    """Training whose networks are as good as a function of their learning rate says."""
    asked = []
    order = []

    def score(raw):
        asked.append(raw)
        return torch.full((len(raw),), quality(order[-1]), dtype=torch.float64)

    def losses(raw):
        return torch.full((len(raw),), loss(order[-1]))

    examples = replace(training(), validation_score=score, validation_loss=losses)
    given = training_on(good(12, 1), 64, examples=examples)
    widening = given._widening

    def watched(tried):
        for rate in widening(tried):
            order.append(rate)
            yield rate

    object.__setattr__(given, "_widening", watched)
    return given


@pytest.mark.parametrize("best", RATES)
def test_the_rate_of_the_best_score_is_found_and_the_range_widened_about_it(best):
    """Quality falls off on either side; loss would choose another one."""
    given = judged(lambda rate: -abs(RATES.index(rate) - RATES.index(best)), lambda rate: rate)
    made(given, AVERAGE, 20)
    assert given.rates == {AVERAGE: best}
    tried = given.tried[AVERAGE]
    is_edge = best in (RATES[0], RATES[-1])
    assert (best in (min(tried), max(tried))) == is_edge
    assert ("at the edge of what is tried" in str(given.facts())) == is_edge
    assert f"{best} for {AVERAGE} (of " in str(given.facts())
    assert set(LEARNING_RATES) <= set(tried) and len(tried) <= 6


def test_among_equal_scores_the_lowest_loss_chooses():
    given = judged(lambda rate: 0.5, lambda rate: abs(rate - LEARNING_RATES[1]))
    made(given, ORIGINALS, 20)
    assert given.rates == {ORIGINALS: LEARNING_RATES[1]}
    assert given.tried == {ORIGINALS: sorted(LEARNING_RATES)}


def test_the_first_networks_choose_together():
    """One lucky training does not decide: the mean of a few does."""
    asked = []

    def score(raw):
        asked.append(len(raw))
        return torch.zeros(len(raw))

    examples = replace(training(), validation_score=score)
    made(training_on(good(12, 1), 64, examples=examples), AVERAGE, 20)
    assert set(asked) == {NUM_CHOOSING}


def test_a_learning_rate_that_diverges_is_passed_over():
    start = good(12, 1)

    def logits(vector, rows):
        far = (vector - start.mean(0)).abs().max() > 0.02
        return training().logits(vector, rows) * (torch.nan if far else 1.0)

    given = training_on(start, examples=replace(training(), logits=logits))
    assert made(given, AVERAGE, 20).raw.isfinite().all()
    assert given.rates[AVERAGE] <= LEARNING_RATES[0]
    broken = replace(training(), logits=lambda vector, rows: logits(vector, rows) * torch.nan)
    with pytest.raises(NotFiniteError, match="diverged at every learning rate"):
        made(training_on(start, examples=broken), AVERAGE, 20)


def test_a_rate_at_which_a_later_order_diverges_gives_way_to_the_next_best():
    """The fourth order of examples breaks at the rate that the first three chose."""
    broken = {}

    def logits(vector, rows):
        order = tuple(rows.tolist())
        if vector.requires_grad:
            broken.setdefault(order, len(broken))
        return training().logits(vector, rows) * (
            torch.nan if broken.get(order) == NUM_CHOOSING and len(calls) == 0 else 1.0
        )

    calls = []
    given = training_on(good(12, 1), 64, examples=replace(training(), logits=logits))
    plain = training_on(good(12, 1), 64)
    made(plain, AVERAGE, 20)
    with pytest.raises(NotFiniteError):  # at every rate
        made(given, AVERAGE, 20)
    calls.append(None)
    made(given, AVERAGE, 20)
    assert given.rates == plain.rates


# ---- in an evaluation


FAULTY = {"shift": 1.0, "spread": 0.2, "fault": 1.2}


def beside_data(uses="labels", how=None, **fields):
    """Generated networks that know more than the originals; all originals favor one class."""
    return evaluated(
        shifted(30, 5, 1.0, 0.2),
        shifted(30, 6, **FAULTY),
        held_out=shifted(10, 7, **FAULTY),
        how=how or predictor(training=training(), **UNSURE),
        data_budget=DataBudget(6400, uses),
        **fields,
    )


@pytest.fixture(scope="module")
def typical():
    return beside_data()[0]


def test_data_matched_baselines_stand_beside_the_generated_networks(typical):
    groups = typical.groups
    assert {name: groups[name].n for name in DATA_MATCHED} == {AVERAGE: NUM_ORDERS, ORIGINALS: 10}
    for name in ("generated", *DATA_MATCHED):
        assert groups[name].data == DataUse("labels", "training", 6400)
    assert groups["greedy_soup"].data == DataUse("labels", "validation", None)
    assert groups[AVERAGE].score.mean > groups["average@all"].score.mean + 0.05
    assert groups[ORIGINALS].max_similarity_with_source is not None
    free = {point.group for found in typical.frontier.values() for point in found.points}
    assert not free & {*DATA_MATCHED, "greedy_soup"}
    assert [score.members for score in typical.ensembles[ORIGINALS]] == [1, 2, 5, 10]
    compared = {(one.reference, one.members) for one in typical.ensemble_comparisons}
    assert (ORIGINALS, 10) in compared
    told = typical.facts["Fine-tuned for comparison"]
    assert "highest validation score" in told and f"for {AVERAGE} (of " in told
    low, high = groups[AVERAGE].score.ci95
    assert low < groups[AVERAGE].score.mean < high and groups[AVERAGE].score.std > 0


def test_the_verdict_tells_who_had_more_to_go_by(typical):
    """Expected: better than every baseline, and worse than an average with as much data."""
    verdict = typical.verdict
    assert verdict.headline == (
        "Better than every baseline at matched novelty and at matched diversity, using training "
        "labels; worse than the fine-tuned average with as many."
    )
    (told,) = (one for one in verdict.sentences if "the baselines none" in one)
    assert "The generator used labels of 6,400 training examples, the baselines none" in told
    assert "Of the data-matched baselines, it is" in told
    for name in DATA_MATCHED:
        assert f"{100 * to(typical, name).difference:+.2f} points" in told


def test_a_generator_without_data_has_no_such_baselines():
    evaluation, _ = evaluated(good(20, 3), how=predictor(training=training()))
    assert not {*DATA_MATCHED} & set(evaluation.groups)
    assert evaluation.groups["generated"].data == DataUse()
    assert "Fine-tuned for comparison" not in evaluation.facts
    assert "the baselines none" not in words(evaluation)


def test_without_a_training_split_they_are_left_out_and_the_data_told():
    evaluation, _ = beside_data("inputs", how=predictor())
    assert "fine_tuned_average (needs a classification task)" in evaluation.facts["Left out"]
    assert evaluation.verdict.headline.endswith(", using training inputs.")
    assert "nothing that saw as many could be compared with it" in words(evaluation)
