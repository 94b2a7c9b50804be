"""Extensions of a sweep: further sources, published numbers and sections of its page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paramdiff.recipe.schema import Recipe
from paramdiff.report.sweep_schema import PageParts, Sweep


class SweepExtension:
    """An extension that adds nothing; subclasses override what they add.

    ``paramdiff.paper`` adds the paper's tables and figures. Instances are sent to workers, so they
    must be picklable.
    """

    def sections(self, source: str) -> tuple[str, ...]:
        """Find the page sections that a source of a sweep names.

        Args:
            source: an argument of ``paramdiff sweep``.

        Returns:
            Names of sections; empty if the source is a recipe or a pattern of recipes.
        """
        return ()

    def variants(self, source: str, base: str | None) -> Sequence[tuple[str, str | None]]:
        """List the recipes that must run for the sections that a source names.

        Args:
            source: names at least one section.
            base: recipe to which ablations apply instead of the one that they extend.

        Returns:
            Recipes, each with a change ``path=value`` or None.
        """
        return ()

    def published(self, name: str, recipe: Recipe | None) -> dict[str, Any] | None:
        """Look up the published numbers of a recipe, as they are stored in ``sweep.json``.

        Args:
            name: of the sweep's entry.
            recipe: the recipe that runs under that name.

        Returns:
            Plain values; None if nothing is published.
        """
        return None

    def page_parts(self, sweep: Sweep, out: Path | None) -> PageParts:
        """Draw the extension's parts of the sweep's page.

        Args:
            sweep: the rows.
            out: the sweep's folder; None leaves out what is drawn from the runs' own files.

        Returns:
            Columns, notes and sections.
        """
        return PageParts()


RECIPES_ONLY = SweepExtension()
"""The extension of a sweep that has none."""
