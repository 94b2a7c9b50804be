"""Every method by its name, in reading order: evaluated, baselines, data-matched, controls.

To add one, write its entry in a file of this package and name it here. Evaluation, verdict,
report and model cards read all that they say of it from the entry.
"""

import math

from paramdiff.errors import UserError, suggestion
from paramdiff.methods.averages import AVERAGE, GREEDY_SOUP, TOP
from paramdiff.methods.controls import PERMUTED_COPIES, SHUFFLED, UNTRAINED
from paramdiff.methods.data_matched import FINE_TUNED_AVERAGE, FINE_TUNED_ORIGINALS
from paramdiff.methods.densities import KDE, MIXTURE
from paramdiff.methods.from_base import MODEL_STOCK, TASK_ARITHMETIC, WISE_FT
from paramdiff.methods.gaussians import GAUSSIAN, GAUSSIAN_FULL
from paramdiff.methods.given import GENERATED, HELD_OUT, ORIGINAL, RECONSTRUCTED
from paramdiff.methods.interpolation import INTERPOLATION, NEIGHBOR_INTERPOLATION
from paramdiff.methods.method import VALIDATION, Member, Method, Strength
from paramdiff.methods.noise import NOISE, NOISE_ABSOLUTE
from paramdiff.methods.spherical import KARCHER_MEAN, SLERP
from paramdiff.methods.swag import MULTISWAG, SWAG
from paramdiff.methods.trajectory_averages import DECAYED, EMA, LAST, POWER_EMA, RUN_AVERAGE

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *(ORIGINAL, HELD_OUT, GENERATED, RECONSTRUCTED),
        *(AVERAGE, RUN_AVERAGE, LAST, EMA, POWER_EMA, DECAYED),
        *(TOP, GREEDY_SOUP),
        *(WISE_FT, TASK_ARITHMETIC, MODEL_STOCK),
        *(KARCHER_MEAN, SLERP, INTERPOLATION, NEIGHBOR_INTERPOLATION),
        *(GAUSSIAN, GAUSSIAN_FULL, MIXTURE),
        *(SWAG, MULTISWAG),
        KDE,
        *(NOISE, NOISE_ABSOLUTE),
        *(FINE_TUNED_AVERAGE, FINE_TUNED_ORIGINALS),
        *(UNTRAINED, SHUFFLED, PERMUTED_COPIES),
    )
}


def find_member(name: str) -> tuple[Member, bool]:
    """Find a method at a strength by the name of its group.

    Args:
        name: as in ``evaluation.json``: ``swag@1.3``, or ``swag`` at its first fixed strength;
            ``+bn`` at the end stands for BatchNorm statistics re-estimated as the last step.

    Returns:
        The method at the strength, and whether it takes that last step.

    Raises:
        UserError: there is no such method, it has no such strength, or it makes no networks.
    """
    plain, plus, ending = name.partition("+")
    method_name, at, strength = plain.partition("@")
    making = {one.name: one for one in METHODS.values() if one.sample is not None}
    method = making.get(method_name)
    if method is None:
        raise UserError(
            f"{method_name}: there is no such method; {suggestion(method_name, making)}; "
            "paramdiff methods lists them"
        )
    if plus and (ending != "bn" or method.finish is None):
        raise UserError(f"{name}: only +bn may follow, and only for methods that have this step")
    if not at:
        return method.at(method.strengths.fixed[0]), bool(plus)
    return method.at(_parsed(method, strength)), bool(plus)


def _parsed(method: Method, text: str) -> Strength:
    """Read a strength: one of the fixed ones, or another number of their kind."""
    if method.strengths.chosen and text == VALIDATION:
        return text
    known = [one for one in method.strengths.fixed if one is not None]
    for one in known:
        if text == str(one):
            return one
    kind = next((type(one) for one in known if not isinstance(one, str)), None)
    if method.strengths.matched is not None:
        kind = float
    examples = ", ".join(f"{method.name}@{one}" for one in known)
    if kind is None:
        beside = f"only {examples} exist" if examples else "it has no strength"
        raise UserError(f"{method.name}@{text}: there is no such strength; {beside}")
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < (1 if kind is int else 0):
        words = "a whole number of checkpoints" if kind is int else "a number from 0 on"
        raise UserError(
            f"{method.name}@{text}: after the @ stands {words}, as in {examples or method.name}"
        )
    return value
