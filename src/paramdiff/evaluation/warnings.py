"""Warnings, for a reader to know before trusting the numbers."""

from dataclasses import dataclass

from paramdiff.evaluation.group_schema import Group
from paramdiff.evaluation.metrics.aligned_distance import UNORDERED
from paramdiff.evaluation.metrics.diversity import HIGHEST_DISPERSION, LOWEST_DISPERSION
from paramdiff.evaluation.score_info import ScoreInfo
from paramdiff.methods.group_names import phrase_of

FEWEST_ERRORS = 50
"""Errors of the median original on which similarities rest safely."""
FEWEST_SEEDS = 6
"""Below, percentile intervals of 95% cover 79% (three seeds) where nothing but seeds differs; of
training runs the same."""
SELECTED_ON_TEST = (
    "Selected and scored on the same data: no validation data are set apart here, so whatever was "
    "chosen by its score looks better than it is. The best of N and soups are left out."
)


@dataclass(frozen=True)
class Errors:
    """Errors of the originals on the test split.

    Attributes:
        median: of the median original.
        num: possible errors; in classification, test examples.
        num_classes: ``K``; None if the task is no classification.
    """

    median: float
    num: int
    num_classes: int | None


def find_warnings(
    groups: dict[str, Group],
    score: ScoreInfo,
    *,
    hold_out: str,
    num_runs: int,
    single_trajectory: bool,
    errors: Errors | None,
    is_deterministic: bool,
    is_unordered: bool,
) -> tuple[str, ...]:
    """The warnings of an evaluation.

    Args:
        groups: every group's numbers, ``original`` and ``generated`` among them.
        score: what the task scores.
        hold_out: how held-out checkpoints were chosen.
        num_runs: how many training runs the originals come from, as far as is known.
        single_trajectory: whether all originals come from one run.
        errors: of the originals; None if nothing is right or wrong.
        is_deterministic: whether a network predicts the same twice.
        is_unordered: whether all of the network is generated from independent runs whose units
            nobody brought into one order.

    Returns:
        One sentence or two each.
    """
    found = [
        SELECTED_ON_TEST if score.selects_on_test else None,
        _spread(groups.get("generated"), groups["original"], score),
        _trajectory(hold_out) if single_trajectory else None,
        UNORDERED if is_unordered else None,
        _seeds(groups.get("generated")),
        _runs(groups["original"], num_runs),
        None if errors is None else _errors(errors),
        _intervals(score),
        _controls(groups, score),
        None
        if is_deterministic
        else "The network is random at test time (dropout left on?): the same parameters give "
        "other predictions each time"
        + (", and similarities are too low." if score.has_errors else "."),
    ]
    return tuple(warning for warning in found if warning is not None)


def _spread(generated: Group | None, original: Group, score: ScoreInfo) -> str | None:
    if original.n > 1 and original.dispersion is None:
        return "All originals are equal: there is no spread to learn or to compare with."
    if generated is None:
        return None
    spread = generated.dispersion
    if spread is None:
        return "The spread of the generated networks cannot be measured here."
    # pooled, generators that have collapsed on different places spread widely
    each = [one.dispersion for one in (generated.seeds or {}).values()]
    by_itself = [one for one in each if one is not None]
    lowest = min([spread, *by_itself])
    if lowest < LOWEST_DISPERSION:
        whose = "The generated networks" if lowest == spread else "The networks of one generator"
        return (
            f"{whose} spread only {lowest:.2f} times as widely as the originals "
            f"(collapse): {score.name} alone would reward this."
        )
    if spread > HIGHEST_DISPERSION:
        words = f"The generated networks spread {spread:.2f} times as widely as the originals"
        if not by_itself:
            return f"{words}."
        return (
            f"{words}; those of each generator by themselves {min(by_itself):.2f} to "
            f"{max(by_itself):.2f} times."
        )
    return None


def _seeds(generated: Group | None) -> str | None:
    if generated is None or generated.seeds is None or len(generated.seeds) >= FEWEST_SEEDS:
        return None
    return (
        f"Of only {len(generated.seeds)} generator seeds, intervals are too short where seeds "
        "differ much: compare the numbers of each."
    )


def _runs(original: Group, num_runs: int) -> str | None:
    if not 1 < num_runs < min(FEWEST_SEEDS, original.n):
        return None
    return (
        f"The originals come from only {num_runs} training runs: their intervals draw runs anew, "
        "and are too short where runs differ much."
    )


def _intervals(score: ScoreInfo) -> str | None:
    if score.is_per_example:
        return None
    if score.selects_on_test:
        return (
            f"Each network has one {score.name} as a whole, so intervals cover the draw of "
            "networks but not that of examples: on other data, differences may be others."
        )
    return (
        f"The test split has one {score.name} as a whole, so intervals cover the draw of networks "
        "but not that of test examples: on other test data, differences may be others."
    )


def _controls(groups: dict[str, Group], score: ScoreInfo) -> str | None:
    original = groups["original"].score.mean
    as_good = [
        f"{phrase_of(name)} reach {score.text(groups[name].score.mean, 1)}"
        for name in ("random", "permuted")
        if name in groups and groups[name].score.mean >= original
    ]
    if not as_good:
        return None
    return (
        f"What the selected tensors hold hardly matters here: {' and '.join(as_good)}, the "
        f"originals {score.text(original, 1)}."
    )


def _trajectory(hold_out: str) -> str:
    dependent = {
        "tail": " The held-out checkpoints are the tail of that run, not independent ones.",
        "spaced": " The held-out checkpoints lie between the others, and are no independent ones.",
    }
    return (
        "All originals come from one training run, so novelty beyond interpolating along it "
        "cannot be shown, and no data-copying test is made: its result would only reflect how "
        f"the run was split.{dependent.get(hold_out, '')}"
    )


def _errors(errors: Errors) -> str | None:
    if errors.median < FEWEST_ERRORS:
        if errors.num_classes is None:
            return (
                f"The median original makes only {errors.median:.0f} of {errors.num} possible "
                "errors; similarities rest on few of them."
            )
        return (
            f"The median original makes only {errors.median:.0f} errors on {errors.num} test "
            "examples; similarities rest on few examples."
        )
    if errors.num_classes is None:
        return None
    accuracy, chance = 1 - errors.median / errors.num, 1 / errors.num_classes
    if accuracy <= chance + 2 * (chance * (1 - chance) / errors.num) ** 0.5:
        return (
            f"The originals are no better than chance ({100 * chance:.0f}% of "
            f"{errors.num_classes} classes): nothing can be learned from comparing them."
        )
    return None
