"""Numbers as a reader meets them: fractions in percent, seconds in minutes, a spread in words."""

import re

from paramdiff.evaluation.schema import Pair
from paramdiff.evaluation.spread import HIGHEST_DISPERSION, LOWEST_DISPERSION

ABSENT = "\u2013"
MINUS = "\u2212"

EVEN_SPREAD = (LOWEST_DISPERSION, HIGHEST_DISPERSION)
"""Dispersions that count as that of the originals; below lies contraction."""


def percent(fraction: float, digits: int = 2) -> str:
    """A fraction in percent."""
    return f"{100 * fraction:.{digits}f}%"


def points(difference: float) -> str:
    """A difference of fractions in percentage points, always with its sign."""
    return f"{100 * difference:+.2f}".replace("-", MINUS)


def points_interval(pair: Pair) -> str:
    """An interval of differences, in percentage points."""
    return f"{points(pair[0])} to {points(pair[1])}"


def number(value: float | None, digits: int = 2) -> str:
    """A plain number; a dash where there is none."""
    return ABSENT if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 2) -> str:
    """A plain number, always with its sign."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def signed_interval(pair: Pair, digits: int = 2) -> str:
    """An interval of signed numbers."""
    return f"{signed(pair[0], digits)} to {signed(pair[1], digits)}"


def typeset(sentence: str) -> str:
    """A sentence whose negative numbers have a true minus, which no line break can tear off."""
    return re.sub(r"(?<=[\s(])-(?=\d)", MINUS, sentence)


def duration(seconds: float) -> str:
    """Seconds in the two units that fit."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def memory(megabytes: float) -> str:
    """Megabytes, or gigabytes from 1,000 megabytes on."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def spread(dispersion: float) -> str:
    """What a dispersion says about variety."""
    if dispersion < EVEN_SPREAD[0]:
        return "contracted: less varied than the originals"
    if dispersion > EVEN_SPREAD[1]:
        return "more varied than the originals"
    return "about as varied as the originals"
