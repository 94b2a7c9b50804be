"""Names of groups as a reader meets them: ``gaussian@0.5`` is "Gaussian fit, scale 0.5".

A group's name is a family, or a family and a strength joined by ``@``. Colors follow those of
Okabe and Ito (2008), which stay apart for color-blind readers; markers tell the families apart
in print.
"""

from collections.abc import Iterable
from dataclasses import dataclass

INK = "#1b2430"
GRAY = "#6b7480"
TRAINED = "#5b4bb7"


@dataclass(frozen=True)
class Family:
    """One way to make parameter sets, at any strength."""

    label: str
    with_strength: str
    color: str = GRAY
    marker: str = "o"


FAMILIES = {
    "original": Family("Originals", "Originals {}", INK),
    "held_out": Family("Held-out checkpoints", "Held-out checkpoints {}", "#0072b2", "s"),
    "generated": Family("Generated", "Generated {}", "#d55e00", "D"),
    "reconstructed": Family("Originals through the codec", "Through the codec {}", GRAY, "X"),
    "average": Family("Average of originals", "Average of {} originals", "#009e73", "^"),
    "greedy_soup": Family("Greedy soup", "Greedy soup {}", "#009e73", "P"),
    "interpolation": Family(
        "Interpolated originals", "Interpolated originals, share {}", "#009e73", "<"
    ),
    "gaussian": Family("Gaussian fit", "Gaussian fit, scale {}", "#a4527f", "o"),
    "gaussian_full": Family(
        "Full-covariance Gaussian", "Full-covariance Gaussian, scale {}", "#a4527f", "h"
    ),
    "mixture": Family("Mixture of Gaussians", "Mixture of Gaussians, scale {}", "#a4527f", "8"),
    "swag": Family("Low-rank SWAG", "Low-rank SWAG, scale {}", "#3a8fc0", "s"),
    "multiswag": Family("SWAG of each run", "SWAG of each run, scale {}", "#3a8fc0", "D"),
    "kde": Family("Kernel density fit", "Kernel density fit, bandwidth {}", "#a4527f", "p"),
    "noise": Family("Originals + noise", "Originals + noise {}", "#b87900", "v"),
    "noise_absolute": Family(
        "Originals + absolute noise", "Originals + absolute noise {}", "#b87900", ">"
    ),
    "fine_tuned_average": Family("Average, fine-tuned", "Average, fine-tuned {}", TRAINED, "*"),
    "fine_tuned_originals": Family(
        "Originals, fine-tuned", "Originals, fine-tuned {}", TRAINED, "H"
    ),
    "random": Family("Untrained values", "Untrained values {}", GRAY, "x"),
    "permuted": Family("Originals, values shuffled", "Originals, values shuffled {}", GRAY, "d"),
    "rearranged": Family(
        "Originals, units rearranged", "Originals, units rearranged {}", GRAY, "h"
    ),
}
"""In reading order: what is examined, then what comes for free, what was trained on data, and what
has learned nothing, or is a copy in disguise."""

SUBJECTS = (
    *("original", "original+bn", "held_out", "generated", "generated+bn"),
    "reconstructed",
)
ANCHORS = ("random", "permuted", "rearranged")


def family_of(name: str) -> Family:
    """Return the family of a group; one that is not listed is called by its own name."""
    plain = plain_family(name)
    return FAMILIES.get(plain) or Family(plain.replace("_", " "), plain.replace("_", " ") + " {}")


def plain_family(name: str) -> str:
    """Return the name of a group's family: ``swag`` for ``swag@0.5+bn``."""
    return name.partition("+")[0].partition("@")[0]


def strength_of(name: str) -> str:
    """Return what follows the ``@`` of a group's name; empty where nothing does."""
    return name.partition("+")[0].partition("@")[2]


def label_of(name: str) -> str:
    """Return a group's name in words."""
    family, strength = family_of(name), strength_of(name)
    label = family.with_strength.replace("{}", strength) if strength else family.label
    return f"{label}, BatchNorm re-estimated" if is_finished(name) else label


def is_finished(name: str) -> bool:
    """Return whether BatchNorm statistics were re-estimated for a group."""
    return name.endswith("+bn")


def in_reading_order(names: Iterable[str]) -> list[str]:
    """Names of groups by family, then by strength; unknown families come last."""
    order = list(FAMILIES)

    def key(name: str) -> tuple[int, str, bool, float, str]:
        family = plain_family(name)
        rank = order.index(family) if family in order else len(order)
        return rank, family, is_finished(name), _as_number(strength_of(name)), name

    return sorted(names, key=key)


def _as_number(strength: str) -> float:
    """``all`` and other words follow every number; an absent strength comes first."""
    try:
        return float(strength) if strength else float("-inf")
    except ValueError:
        return float("inf")
