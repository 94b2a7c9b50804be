"""The recipes of a sweep, from names, patterns and the sources of an extension."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from paramdiff.errors import UserError
from paramdiff.recipe.differences import differences, variation
from paramdiff.recipe.loading import shipped_recipes
from paramdiff.recipe.schema import Recipe, load_factors, load_recipe
from paramdiff.report.sweep_schema import SWEEP_FILE, SWEEP_PAGE, PageParts, Sweep


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


PREDICTION_CACHE = "prediction_cache"
OWN_NAMES = (PREDICTION_CACHE, SWEEP_FILE, SWEEP_PAGE)
"""Files and folders of the sweep itself, beside those of its runs."""


@dataclass(frozen=True)
class Entry:
    """One recipe of a sweep; its name is also its folder."""

    name: str
    recipe: Recipe
    changed: dict[str, Any] = field(default_factory=dict)


def plan_sweep(
    sources: Sequence[str],
    overrides: Sequence[str] = (),
    vary: str | None = None,
    base: str | None = None,
    extension: SweepExtension = RECIPES_ONLY,
) -> list[Entry]:
    """Resolve every recipe of a sweep before any of them runs.

    Args:
        sources: recipe files; names or globs (``ablation/noise_*``) of shipped recipes; sources of
            the extension, such as the paper's tables, which stand for the recipes that they show.
        overrides: ``path=value`` for all of them.
        vary: ``path=value,value,...`` for a single recipe, which then runs once per value.
        base: recipe to which ablations apply, instead of the ones that they extend.
        extension: knows further sources.

    Returns:
        The entries, in the order of the sources; what each changes is an ablation's factors, the
        varied field, or else the fields in which the recipes of the sweep differ.

    Raises:
        UserError: a recipe or a pattern is unknown, an override is wrong, two entries have one
            name, or a name cannot be that of a folder.
    """
    wanted = _wanted(sources, base, extension)
    if vary is not None:
        entries = _varied([name for name, _ in wanted], overrides, vary, base)
    else:
        entries = [_entry(name, change, overrides, base) for name, change in wanted]
    for number, entry in enumerate(entries):
        _refuse_as_folder(entry.name)
        if entry.name in {other.name for other in entries[:number]}:
            raise UserError(f"sweep: two recipes are called {entry.name!r}; each needs a folder")
    dumped = [entry.recipe.model_dump(mode="json") for entry in entries]
    paths = dict.fromkeys(path for other in dumped for path in differences(dumped[0], other))
    return [
        entry
        if entry.changed
        else Entry(entry.name, entry.recipe, {path: _at(content, path) for path in _shown(paths)})
        for entry, content in zip(entries, dumped, strict=True)
    ]


def _refuse_as_folder(name: str) -> None:
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in name or parts[0] in OWN_NAMES:
        raise UserError(
            f"sweep: {name!r} cannot be the name of a folder in a sweep; rename the recipe"
        )


def _wanted(
    sources: Sequence[str], base: str | None, extension: SweepExtension
) -> list[tuple[str, str | None]]:
    """List the recipes with their changes; one that several sections show is listed once."""
    recipes = {source: _expand(source) for source in sources if not extension.sections(source)}
    named = [(name, None) for names in recipes.values() for name in names]
    wanted: list[tuple[str, str | None]] = []
    for source in sources:
        if source in recipes:
            wanted += [(name, None) for name in recipes[source]]
            continue
        for variant in extension.variants(source, base):
            if variant not in (*wanted, *named):
                wanted.append(variant)
    return wanted


def requested_sections(sources: Sequence[str], extension: SweepExtension) -> tuple[str, ...]:
    """List the page sections of an extension that the sources of a sweep name, each once."""
    names = [name for source in sources for name in extension.sections(source)]
    return tuple(dict.fromkeys(names))


def _expand(source: str) -> list[str]:
    if not re.search(r"[*?\[]", source) or Path(source).is_file():
        return [source]
    found = [name for name in shipped_recipes() if fnmatchcase(name, source)]
    if not found:
        raise UserError(
            f"{source}: no shipped recipe fits this pattern; list them with `paramdiff recipes`"
        )
    return found


def _entry(source: str, change: str | None, overrides: Sequence[str], base: str | None) -> Entry:
    recipe = load_recipe(source, overrides if change is None else [*overrides, change], base)
    name = source if source in shipped_recipes() else recipe.name
    if change is None:
        return Entry(name, recipe, load_factors(source))
    path, _, value = change.partition("=")
    return Entry(name + variation(change), recipe, {path: yaml.safe_load(value)})


def _varied(
    sources: list[str], overrides: Sequence[str], vary: str, base: str | None
) -> list[Entry]:
    path, separator, text = vary.partition("=")
    try:
        values = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError:
        values = []
    if len(sources) != 1 or not separator or not values:
        raise UserError(
            f"--vary: this takes one recipe and path=value,value,..., but there are "
            f"{len(sources)} recipes and {vary!r}"
        )
    written = [
        yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
        for value in values
    ]
    return [_entry(sources[0], f"{path}={value}", overrides, base) for value in written]


def _shown(paths: dict[str, None]) -> list[str]:
    return [path for path in paths if path not in ("name", "description")]


def _at(content: Any, path: str) -> Any:
    for key in path.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    return content
