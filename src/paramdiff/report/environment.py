"""Templates of the report, and the filters that all of them use."""

from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template

from paramdiff.methods.group_names import in_reading_order, label_of, method_of
from paramdiff.report import text
from paramdiff.report.style import outline

REPORT = "paramdiff.report"
FILTERS: dict[str, Any] = {
    "percent": text.percent,
    "hundredths": lambda fraction: text.number(100 * fraction),
    "points": text.points,
    "points_interval": text.points_interval,
    "number": text.number,
    "signed": text.signed,
    "typeset": text.typeset,
    "label": label_of,
    "family": lambda name: method_of(name).label,
    "color": lambda name: method_of(name).style.color,
    "outline": lambda name: outline(method_of(name).style.marker),
    "in_order": in_reading_order,
}
WITH_MACROS = "{% from 'macros.html.jinja' import dash, interval_plot with context %}"


def template_of(name: str, package: str = REPORT) -> Template:
    """Load a template.

    Args:
        name: of the file.
        package: has it in its folder ``templates``; it may include the report's own.

    Returns:
        The template.
    """
    return _environment(package).get_template(name)


@cache
def inline_template(source: str) -> Template:
    """Compile a template of a few words, which can use the page's macros."""
    return _environment().from_string(WITH_MACROS + source)


@cache
def _environment(package: str = REPORT) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(one) for one in dict.fromkeys((package, REPORT))]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(FILTERS)
    return environment
