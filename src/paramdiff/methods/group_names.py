"""Names of groups as a reader meets them: ``gaussian@0.5`` is "Gaussian fit, scale 0.5".

A name is that of a method, or a method and a strength joined by ``@``; ``+bn`` follows if
BatchNorm statistics were re-estimated as the last step.
"""

from collections.abc import Iterable

from paramdiff.methods.method import VALIDATION, Method, Role
from paramdiff.methods.registry import METHODS

FINISHED = "+bn"
_WITH_BATCHNORM = "with re-estimated BatchNorm statistics"
_CHOSEN = "tuned on validation data"
_ROLES: tuple[Role, ...] = ("evaluated", "baseline", "data-matched baseline", "control")


def method_of(name: str) -> Method:
    """Return the method of a group; one that is not registered is called by its own name."""
    member = name.partition("+")[0]
    plain = member.partition("@")[0]
    return METHODS.get(plain) or Method(plain, plain.replace("_", " "), phrase=member)


def strength_of(name: str) -> str:
    """Return what follows the ``@`` of a group's name; empty if nothing does."""
    return name.partition("+")[0].partition("@")[2]


def is_finished(name: str) -> bool:
    """Return whether BatchNorm statistics were re-estimated for a group."""
    return name.endswith(FINISHED)


def role_of(name: str) -> Role:
    """Return the role of a group in an evaluation."""
    return method_of(name).role


def is_control(name: str) -> bool:
    """Return whether a group's networks have learned nothing, or nothing new."""
    return role_of(name) == "control"


def label_of(name: str) -> str:
    """Return the label of a group, for tables and figures."""
    method, strength = method_of(name), strength_of(name)
    template = method.label_at or f"{method.label} {{}}"
    label = template.replace("{}", strength) if strength else method.label
    if _is_chosen(name):
        label = f"{method.label}, {_CHOSEN}"
    return f"{label}, BatchNorm re-estimated" if is_finished(name) else label


def phrase_of(name: str) -> str:
    """Return the phrase for a group, for a sentence."""
    method, strength = method_of(name), strength_of(name)
    has_template = method.phrase_at is not None and _number(strength) is not None
    phrase = (method.phrase_at or "").replace("{}", strength) if has_template else method.phrase
    if _is_chosen(name):
        phrase = f"{method.phrase} {_CHOSEN}"
    return _finished_phrase(name, phrase)


def short_phrase_of(name: str) -> str:
    """Return the phrase for a group in a headline, without a strength if it says enough."""
    short = method_of(name).short_phrase
    if short is None or _is_chosen(name):
        return phrase_of(name)
    return _finished_phrase(name, short)


def in_reading_order(names: Iterable[str]) -> list[str]:
    """Return names of groups by role, then method, then strength; unknown methods come last."""
    order = list(METHODS)

    def key(name: str) -> tuple[bool, int, int, str, bool, float, str]:
        method = method_of(name)
        is_known = method.name in METHODS
        return (
            not is_known,
            _ROLES.index(method.role),
            order.index(method.name) if is_known else len(order),
            method.name,
            is_finished(name),
            _rank(strength_of(name)),
            name,
        )

    return sorted(names, key=key)


def _is_chosen(name: str) -> bool:
    return strength_of(name) == VALIDATION and bool(method_of(name).strengths.chosen)


def _finished_phrase(name: str, phrase: str) -> str:
    return f"{phrase} {_WITH_BATCHNORM}" if is_finished(name) else phrase


def _rank(strength: str) -> float:
    """Put an absent strength first and words, such as ``all``, behind every number."""
    number = _number(strength)
    if number is not None:
        return number
    return float("inf") if strength else float("-inf")


def _number(strength: str) -> float | None:
    try:
        return float(strength)
    except ValueError:
        return None
