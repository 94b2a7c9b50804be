"""What a reader must know before trusting the numbers."""

from paramdiff.evaluation.phrases import in_words
from paramdiff.evaluation.schema import Group
from paramdiff.evaluation.verdict import FEWEST_ERRORS, HIGHEST_DISPERSION, LOWEST_DISPERSION

FEWEST_SEEDS = 6
"""Below, percentile intervals of 95% cover 79% (three seeds) where nothing but seeds differs."""


def cautions(
    groups: dict[str, Group],
    *,
    hold_out: str,
    single_trajectory: bool,
    num_test: int,
    num_classes: int,
    is_deterministic: bool,
) -> tuple[str, ...]:
    """The warnings of an evaluation.

    Args:
        groups: every group's numbers, ``original`` and ``generated`` among them.
        hold_out: how held-out checkpoints were chosen.
        single_trajectory: whether all originals come from one run.
        num_test: test examples.
        num_classes: ``K``.
        is_deterministic: whether a network answers alike twice.

    Returns:
        One sentence or two each.
    """
    found = [
        _spread(groups["generated"], groups["original"]),
        _trajectory(hold_out) if single_trajectory else None,
        _seeds(groups["generated"]),
        _errors(groups["original"], num_test, num_classes),
        _anchors(groups),
        None
        if is_deterministic
        else "The network is random at test time (dropout left on?): the same parameters give "
        "other answers each time, and similarities are too low.",
    ]
    return tuple(warning for warning in found if warning is not None)


def _spread(generated: Group, original: Group) -> str | None:
    spread = generated.dispersion
    if original.n > 1 and original.dispersion is None:
        return "All originals are equal: there is no spread to learn or to compare with."
    if spread is None:
        return "The spread of the generated networks cannot be measured here."
    if spread < LOWEST_DISPERSION:
        return (
            f"The generated networks spread only {spread:.2f} times as widely as the originals "
            "(collapse): accuracy alone would reward this."
        )
    if spread > HIGHEST_DISPERSION:
        return f"The generated networks spread {spread:.2f} times as widely as the originals."
    return None


def _seeds(generated: Group) -> str | None:
    if generated.seeds is None or len(generated.seeds) >= FEWEST_SEEDS:
        return None
    return (
        f"Of only {len(generated.seeds)} generator seeds, intervals are too short where seeds "
        "differ much: compare the numbers of each."
    )


def _anchors(groups: dict[str, Group]) -> str | None:
    original = groups["original"].accuracy.mean
    as_good = [
        f"{in_words(name)} reach {100 * groups[name].accuracy.mean:.1f}%"
        for name in ("random", "permuted")
        if name in groups and groups[name].accuracy.mean >= original
    ]
    if not as_good:
        return None
    return (
        f"What the selected tensors hold hardly matters here: {' and '.join(as_good)}, the "
        f"originals {100 * original:.1f}%."
    )


def _trajectory(hold_out: str) -> str:
    tail = (
        " The held-out checkpoints are the tail of that run, not independent ones."
        if hold_out == "tail"
        else ""
    )
    return (
        "All originals come from one training run, so novelty beyond interpolating along it "
        "cannot be shown, and no data-copying test is made: its result would only reflect how "
        f"the run was split.{tail}"
    )


def _errors(original: Group, num_test: int, num_classes: int) -> str | None:
    accuracy = original.accuracy.median
    errors = (1 - accuracy) * num_test
    if errors < FEWEST_ERRORS:
        return (
            f"The median original makes only {errors:.0f} errors on {num_test} test examples; "
            "similarities rest on few examples."
        )
    chance = 1 / num_classes
    if accuracy <= chance + 2 * (chance * (1 - chance) / num_test) ** 0.5:
        return (
            f"The originals are no better than chance ({100 * chance:.0f}% of {num_classes} "
            "classes): nothing can be learned from comparing them."
        )
    return None
