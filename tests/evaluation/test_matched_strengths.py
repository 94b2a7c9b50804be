"""Strengths at which baselines are matched to the generated networks, on validation data."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from paramdiff.evaluation.baselines import unmatched_members
from paramdiff.evaluation.frontier import AXES
from paramdiff.evaluation.group_schema import Standing
from paramdiff.evaluation.matched_strengths import Pilots, Validation
from paramdiff.evaluation.metrics.diversity import total_variance
from paramdiff.evaluation.predictor import ValidationPredictions
from paramdiff.methods.draws import Draws
from paramdiff.methods.method import Method, Strengths
from paramdiff.methods.method_context import Samples
from paramdiff.methods.registry import METHODS
from paramdiff.parameters.normalization import Normalization, fit_normalization
from tests.methods.contexts import context

from .linear import LAYOUT, good, predictor, typical

NOVELTY, DIVERSITY, DISPERSION = AXES


def given(originals, normalization):
    """What baselines of linear classifiers are made from."""
    return replace(
        context(),
        originals=normalization.apply(originals),
        raw=originals,
        layout=LAYOUT,
        normalization=normalization,
        validation_score=torch.zeros(len(originals)),
        steps=None,
        base=None,
    )


def pilots(generated, originals, how=None, **fields):
    """Pilots of linear classifiers (raw vectors), matched to some generated ones."""
    how = how or predictor()
    normalization = fit_normalization(originals, LAYOUT, "tensor")
    vectors = normalization.apply(originals)
    validation = Validation(
        how.predict_validation,
        how.predict_validation(originals).wrong,
        total_variance(vectors),
        normalization.invert,
    )
    made = given(originals, normalization)
    target = validation.standing(normalization.apply(generated))
    return Pilots(made, validation, target, len(generated), seed=0, **fields)


@pytest.mark.parametrize(("name", "strength"), [("noise", 0.5), ("gaussian", 0.8), ("swag", 1.3)])
def test_a_planted_strength_is_found_between_the_fixed_ones(name, strength):
    """The planted networks are those of the same method at a strength that is not in the list."""
    originals = good(40, 1)
    normalization = fit_normalization(originals, LAYOUT, "tensor")
    made = given(originals, normalization)
    planted = METHODS[name].at(strength).sample(made, Draws(200, 5, "planted"))
    one = pilots(normalization.invert(planted.vectors), originals)
    found = {axis: matched for matched in one.matched([METHODS[name]]) for axis in matched.axes}
    assert found.keys() == AXES.keys()
    for axis in AXES.values():
        matched = found[axis.name]
        assert matched.validation is not None
        place = axis.of_standing(matched.validation)
        assert axis.excess(place, axis.of_standing(one.target)) <= axis.tolerance
    # dispersion is not blurred by the few validation examples
    found_strength = float(found[DISPERSION].name.partition("@")[2])
    assert found_strength == pytest.approx(strength, rel=0.15)


def standing(n, novelty, diversity):
    return Standing(
        n=n,
        score=novelty,
        max_similarity=novelty,
        pairwise_similarity=diversity,
        dispersion=None,
    )


class Known(Pilots):
    """Pilots whose standing is a function of the strength; records what was looked at."""

    looked: ClassVar[set[tuple[float, int]]] = set()

    def of(self, member, stream, count):
        strength = float(member.name.partition("@")[2])
        self.looked.add((strength, count))
        return standing(count, 1 - strength, 1 - strength)


def test_every_axis_is_matched_between_neighbors_of_full_count():
    """A strength that another axis has looked at is not its own neighbor."""
    steps = staircase(lambda s: s, lambda s: s)
    known = Known(None, None, standing(200, 0.9, 0.898), 200, seed=0)
    known.matched([steps])
    assert max(strength for strength, count in known.looked if count == 200) > 0.1


def staircase(score, similarity, name="steps"):
    """A method whose members' validation score and dispersion are functions of the strength."""

    def sample(given, draws, strength):
        noise = draws.normal(given.originals.shape[1])
        vectors = given.originals[:1] + similarity(strength) * noise
        vectors[:, 0] = score(strength)
        return Samples(vectors)

    return Method(name, name, name, sample=sample, strengths=Strengths((), (0.01, 1.0)))


def scored_by_first_value(vectors):
    """No errors: the score is the first raw value."""
    return ValidationPredictions(vectors[:, :1].double(), None)


def matched_dispersion(score, dispersion, target):
    originals = torch.randn(30, LAYOUT.num_parameters, generator=torch.Generator().manual_seed(1))
    validation = Validation(
        scored_by_first_value, None, total_variance(originals), lambda vectors: vectors
    )
    nothing = torch.zeros(LAYOUT.num_parameters)
    made = given(originals, Normalization(nothing, nothing + 1, nothing))
    standing = validation.standing(originals * target)
    one = Pilots(made, validation, standing, 30, seed=0)
    found = one.matched([staircase(score, dispersion)])
    return [float(matched.name.partition("@")[2]) for matched in found]


def test_a_monotone_method_is_matched_where_it_crosses_the_target():
    (found,) = matched_dispersion(lambda s: 1 - s, lambda s: s, target=0.37)
    assert found == pytest.approx(0.37, rel=0.1)


def test_a_method_that_comes_back_is_matched_where_it_scores_best():
    """Dispersion rises and falls; of the two crossings the weaker disturbance scores higher."""
    (found,) = matched_dispersion(lambda s: 1 - s, lambda s: 4 * s * (1 - s) + 0.01, target=0.5)
    assert found < 0.25
    (found,) = matched_dispersion(lambda s: s, lambda s: 4 * s * (1 - s) + 0.01, target=0.5)
    assert found > 0.6


def test_a_method_that_is_never_as_dispersed_is_not_matched():
    assert matched_dispersion(lambda s: 1.0, lambda s: 0.1 * s, target=0.9) == []


def test_a_method_that_is_always_as_dispersed_competes_at_its_best():
    (found,) = matched_dispersion(lambda s: -((s - 0.1) ** 2), lambda s: 2 + s, target=0.5)
    assert found == pytest.approx(0.1, rel=0.3)


def test_pilot_networks_are_not_those_that_are_scored():
    evaluation, arrays = typical()
    group = evaluation.groups["noise@0.15"]
    assert group.validation.n == 20
    scored = float(arrays["validation/noise@0.15"].mean())
    assert group.validation.score != pytest.approx(scored, abs=1e-9)


def test_matched_members_say_what_they_are_matched_to():
    evaluation, _ = typical()
    matched = {name: one for name, one in evaluation.groups.items() if one.matched_to}
    methods = {name.partition("@")[0] for name in matched}
    assert {"noise", "gaussian", "swag", "kde", "interpolation", "mixture"} & methods
    generated = evaluation.groups["generated"].validation
    for name, one in matched.items():
        for axis in one.matched_to:
            excess = AXES[axis].excess(
                AXES[axis].of_standing(one.validation), AXES[axis].of_standing(generated)
            )
            assert excess <= AXES[axis].tolerance, name


def test_networks_that_compute_no_numbers_are_no_pilots():
    originals = good(30, 1)
    one = pilots(good(20, 3), originals)
    broken = Method(
        "broken",
        "broken",
        "broken",
        sample=lambda given, draws, strength: Samples(torch.full((len(draws), 15), torch.nan)),
    )
    (found,) = one.fixed([broken.at(None)])
    assert found.validation is None


def test_controls_and_what_sees_labels_have_no_pilots():
    originals = good(30, 1)
    made = pilots(good(20, 3), originals)
    members = [one for one in unmatched_members() if one.method.applies(made.context)]
    members = [one for one in members if one.missing(made.context) is None]
    found = {matched.name: matched for matched in made.fixed(members)}
    without = {name for name, matched in found.items() if matched.validation is None}
    tuned = {f"{name}@validation" for name in ("gaussian", "gaussian_full", "swag")}
    expected = {"best_checkpoint", "greedy_soup", "top@5", "top@10", *tuned}
    assert without == expected | {"random", "permuted"}
