"""Run a set of recipes, each in a folder of its own, and compare them on one page.

A run takes over every stage that another run in the sweep's folder has finished with equal
fields: recipes which differ only in later stages share their checkpoints, those which differ in
fine-tuning the pre-trained network. The same call completes an interrupted sweep. One recipe that
fails does not stop the others.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from paramdiff.errors import UserError
from paramdiff.evaluation.schema import EVALUATION_FILE, Evaluation
from paramdiff.experiment.folder import RunFolder
from paramdiff.experiment.published import published_for
from paramdiff.experiment.run import run
from paramdiff.experiment.stages import Report
from paramdiff.recipe import Recipe, load_factors, load_recipe, shipped_recipes
from paramdiff.recipe.factors import differences
from paramdiff.report.page import REPORT_FILE, read_evaluation
from paramdiff.report.sweep import Sweep, SweepRow, result_of, write_sweep

ANSWERS = "answers"
"""A sub-folder of a sweep's: what parameter vectors answered, for the runs to share."""

Watch = Callable[[str], AbstractContextManager[Report]]
"""Told a recipe's name before it runs; gives what its stages report to."""


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
) -> list[Entry]:
    """Resolve every recipe of a sweep before any of them runs.

    Args:
        sources: recipe files, and names or globs (``ablation/noise_*``) of shipped recipes.
        overrides: ``path=value`` for all of them.
        vary: ``path=value,value,...`` for a single recipe, which then runs once per value.
        base: what ablations change, instead of the recipes that they extend.

    Returns:
        The entries, in the order of the sources; what each changes is an ablation's factors, the
        varied field, or else the fields in which the recipes of the sweep differ.

    Raises:
        UserError: a recipe or a pattern is unknown, an override is wrong, or two have one name.
    """
    names = [name for source in sources for name in _expand(source)]
    if vary is not None:
        entries = _varied(names, overrides, vary, base)
    else:
        entries = [_entry(name, overrides, base) for name in names]
    for number, entry in enumerate(entries):
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


def run_sweep(entries: Sequence[Entry], out: Path, *, device: str, watch: Watch) -> Sweep:
    """Run every entry and write ``sweep.json`` and ``sweep.html`` after each.

    Args:
        entries: what to run.
        out: holds one folder per entry.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        watch: see ``Watch``.

    Returns:
        One row per entry; a row without a result says why it failed.
    """
    rows: list[SweepRow] = []
    for entry in entries:
        row = SweepRow(
            name=entry.name,
            description=entry.recipe.description,
            changed=entry.changed,
            result=None,
            published=published_for(entry.name, entry.recipe),
        )
        with watch(entry.name) as report:
            try:
                evaluation = _finished(entry, out) or run(
                    entry.recipe,
                    out / entry.name,
                    device=device,
                    reuse=_nearest(entry, out),
                    answers=out / ANSWERS,
                    report=report,
                )
                row = row.model_copy(update={"result": result_of(evaluation)})
            except Exception as error:  # of any part, or of the machine: the others still run
                row = row.model_copy(update={"failure": _one_line(error)})
        rows.append(row)
        write_sweep(out, Sweep(rows=tuple(rows)))
    return Sweep(rows=tuple(rows))


def _finished(entry: Entry, out: Path) -> Evaluation | None:
    """The evaluation of an entry that needs no more work; its report is not drawn again."""
    folder = RunFolder(out / entry.name)
    if folder.state.exists() or not (folder.root / REPORT_FILE).is_file():
        return None
    folder.claim(entry.recipe)  # refuses the folder of another recipe
    return read_evaluation(folder.root / EVALUATION_FILE)


def _nearest(entry: Entry, out: Path) -> Path | None:
    """The run in a sweep's folder that has finished the most which this entry can take over."""
    best, most = None, 0.0
    for path in sorted((*out.glob("*/recipe.yaml"), *out.glob("*/*/recipe.yaml"))):
        folder = RunFolder(path.parent)
        if folder.root == out / entry.name:
            continue
        has_trunk = folder.trunk_for(entry.recipe) is not None
        shared = len(folder.stages_for(entry.recipe)) + 0.5 * has_trunk
        if shared > most:
            best, most = folder.root, shared
    return best


def _expand(source: str) -> list[str]:
    if not re.search(r"[*?\[]", source) or Path(source).is_file():
        return [source]
    found = [name for name in shipped_recipes() if fnmatchcase(name, source)]
    if not found:
        raise UserError(f"{source}: expected a pattern of shipped recipes, found none that fits")
    return found


def _entry(source: str, overrides: Sequence[str], base: str | None) -> Entry:
    recipe = load_recipe(source, overrides, base)
    name = source if source in shipped_recipes() else recipe.name
    return Entry(name, recipe, load_factors(source))


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
            "--vary: expected one recipe and path=value,value,..., found "
            f"{len(sources)} recipes and {vary!r}"
        )
    entries = []
    for value in values:
        written = yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
        entry = _entry(sources[0], [*overrides, f"{path}={written}"], base)
        label = re.sub(r"[^\w.+-]+", "_", written)
        name = f"{entry.name},{path.rpartition('.')[2]}={label}"
        entries.append(Entry(name, entry.recipe, {path: value}))
    return entries


def _shown(paths: dict[str, None]) -> list[str]:
    return [path for path in paths if path not in ("name", "description")]


def _at(content: Any, path: str) -> Any:
    for key in path.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _one_line(error: Exception) -> str:
    line = " ".join(str(error).split())
    return line if isinstance(error, UserError) else f"{type(error).__name__}: {line}"
