"""The paper's tables and figures in a sweep: as sources, as published columns and as sections."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paramdiff.paper.published import published_for
from paramdiff.paper.table_schema import BASE, paper_tables_like
from paramdiff.recipe.schema import Recipe
from paramdiff.report.sweep_schema import PageParts, Sweep
from paramdiff.runs.sweep_entries import SweepExtension


class PaperSweep(SweepExtension):
    """Adds the paper's tables, figures and published numbers to a sweep."""

    def sections(self, source: str) -> tuple[str, ...]:
        """Find the tables and figures that a source names; see ``SweepExtension``."""
        if not re.match(r"(table|figure)[\w*?\[]", source) or Path(source).is_file():
            return ()
        return tuple(table.name for table in paper_tables_like(source))

    def variants(self, source: str, base: str | None) -> Sequence[tuple[str, str | None]]:
        """List the recipes that the tables and figures show; see ``SweepExtension``."""
        return [
            (base if base is not None and one.recipe == BASE else one.recipe, one.change)
            for table in paper_tables_like(source)
            for one in (table.settings if table.needs_runs else ())
        ]

    def published(self, name: str, recipe: Recipe | None) -> dict[str, Any] | None:
        """Look up the published numbers of a recipe; see ``SweepExtension``."""
        found = published_for(name, recipe)
        return None if found is None else found.model_dump(mode="json")

    def page_parts(self, sweep: Sweep, out: Path | None) -> PageParts:
        """Draw published numbers and, from the runs in the folder, tables and figures."""
        from paramdiff.paper.paper_page import draw_parts  # loads torch and matplotlib

        return draw_parts(sweep, out)


PAPER = PaperSweep()
