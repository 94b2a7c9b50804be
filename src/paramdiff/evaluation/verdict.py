"""What follows from the numbers, in words; only paired differences decide."""

from paramdiff.evaluation.schema import Comparison, Group, Verdict

LOWEST_DISPERSION, HIGHEST_DISPERSION = 0.8, 1.25
SAME_DISPERSION = 0.05
"""Two groups are compared as equally spread when their dispersions differ by at most this."""
SAME_SIMILARITY = 0.005
"""An alternative may be this much more similar to the originals and still count as equally new."""

MADE_WITH_TRAINING = ("original", "held_out", "generated", "reconstructed")
NAMES = {
    "original": "the originals",
    "held_out": "the held-out checkpoints",
    "generated": "the generated networks",
    "reconstructed": "the codec's reconstructions",
    "average@all": "the average of all checkpoints",
    "interpolation": "interpolations between pairs of checkpoints",
}
_FAMILIES = {
    "gaussian": "a per-coordinate Gaussian at {} times the checkpoints' spread",
    "average": "averages of {} checkpoints",
    "swag": "SWAG samples at scale {}",
    "noise": "checkpoints with added noise of {} times each tensor's spread",
}


def in_words(name: str) -> str:
    """A group's name as a phrase."""
    if name in NAMES:
        return NAMES[name]
    family, _, strength = name.partition("@")
    return _FAMILIES.get(family, name).format(strength)


def _family(name: str) -> str:
    """A group's kind as a short phrase for the headline."""
    return {
        "gaussian": "a fitted Gaussian",
        "noise": "noised checkpoints",
        "swag": "SWAG samples",
    }.get(name.partition("@")[0], in_words(name))


def _headline(comparison: Comparison, other: str) -> str:
    words = relation(comparison)
    ending = ", and no better" if words == "as good as" else ""
    return f"{words.capitalize()} {other}{ending}."


def relation(comparison: Comparison) -> str:
    """``better than``, ``worse than`` or ``as good as``, by whether the interval excludes 0."""
    low, high = comparison.ci95
    return "better than" if low > 0 else "worse than" if high < 0 else "as good as"


def judge(
    groups: dict[str, Group],
    comparisons: list[Comparison],
    hold_out: str,
    single_trajectory: bool,
    num_test: int,
) -> Verdict:
    """Write the verdict.

    Args:
        groups: every group's numbers, ``original`` and ``generated`` among them.
        comparisons: paired differences of ``generated`` to others.
        hold_out: how held-out checkpoints were chosen.
        single_trajectory: whether all originals come from one run.
        num_test: test examples.

    Returns:
        A headline, sentences and warnings.
    """
    by_reference = {comparison.reference: comparison for comparison in comparisons}
    decisive = _decisive(groups, comparisons)
    if decisive is None:
        headline = _headline(by_reference["original"], in_words("original"))
        sentences = ["No free alternative spreads as widely and is as new."]
    else:
        headline = _headline(decisive, f"{_family(decisive.reference)} of equal spread")
        sentences = [
            f"The generated networks are {_clause(decisive)}, the best free alternative that "
            "spreads as widely and is as new."
        ]
    sentences.append(f"They are {_clause(by_reference['original'])}.")
    average = by_reference.get("average@all")
    if average is not None:
        sentences.append(f"They are {_clause(average)}: one network, made for free.")
    sentences += _novelty(groups)
    return Verdict(
        headline=headline,
        reference=None if decisive is None else decisive.reference,
        sentences=tuple(sentences),
        warnings=tuple(_warnings(groups, hold_out, single_trajectory, num_test)),
    )


def _decisive(groups: dict[str, Group], comparisons: list[Comparison]) -> Comparison | None:
    """The comparison to the best free group of equal dispersion that is at least as new.

    Without the second condition, copies of the originals with a whisper of noise would decide.
    """
    generated = groups["generated"]
    if generated.dispersion is None or generated.max_similarity is None:
        return None
    highest = generated.max_similarity.mean + SAME_SIMILARITY
    candidates = [
        comparison
        for comparison in comparisons
        if comparison.reference not in MADE_WITH_TRAINING
        and comparison.reference_dispersion is not None
        and abs(comparison.reference_dispersion - generated.dispersion) <= SAME_DISPERSION
        and (similarity := groups[comparison.reference].max_similarity) is not None
        and similarity.mean <= highest
    ]
    return min(candidates, key=lambda comparison: comparison.difference, default=None)


def _clause(comparison: Comparison) -> str:
    return f"{relation(comparison)} {in_words(comparison.reference)} ({_points(comparison)})"


def _points(comparison: Comparison) -> str:
    low, high = (100 * bound for bound in comparison.ci95)
    return (
        f"{100 * comparison.difference:+.2f} points of accuracy, "
        f"95% interval {low:+.2f} to {high:+.2f}"
    )


def _novelty(groups: dict[str, Group]) -> list[str]:
    generated, original = groups["generated"], groups["original"]
    if generated.max_similarity is None or original.max_similarity is None:
        return []
    return [
        f"The errors of a generated network overlap by {generated.max_similarity.mean:.2f} with "
        f"those of its nearest original; an original's by {original.max_similarity.mean:.2f} with "
        "its nearest other original (1 is identical)."
    ]


def _warnings(
    groups: dict[str, Group], hold_out: str, single_trajectory: bool, num_test: int
) -> list[str]:
    generated, original = groups["generated"], groups["original"]
    warnings = []
    spread = generated.dispersion
    if spread is None:
        warnings.append("The spread of the generated networks cannot be measured here.")
    elif spread < LOWEST_DISPERSION:
        warnings.append(
            f"The generated networks spread only {spread:.2f} times as widely as the originals "
            "(collapse): accuracy alone would reward this."
        )
    elif spread > HIGHEST_DISPERSION:
        warnings.append(
            f"The generated networks spread {spread:.2f} times as widely as the originals."
        )
    if single_trajectory:
        tail = (
            " The held-out checkpoints are the tail of that run, not independent ones."
            if hold_out == "tail"
            else ""
        )
        warnings.append(
            "All originals come from one training run, so novelty beyond interpolating along it "
            f"cannot be shown.{tail}"
        )
    errors = (1 - original.accuracy.median) * num_test
    if errors < 50:
        warnings.append(
            f"The median original makes only {errors:.0f} errors on {num_test} test examples; "
            "similarities rest on few examples."
        )
    return warnings
