"""From somebody's checkpoints to a generator and new checkpoints, without a recipe to write."""

from collections.abc import Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from paramdiff.checkpoints.duplicates import without_duplicates
from paramdiff.checkpoints.formats import CheckpointFormat
from paramdiff.checkpoints.order import first_names
from paramdiff.checkpoints.sources import FoundCheckpoints, Runs, find_checkpoints, find_runs
from paramdiff.commands.hyperparameters import Configuration, configure
from paramdiff.commands.inspect import inspect_checkpoints
from paramdiff.device import resolve_device
from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.selection import select
from paramdiff.progress import Progress, ignore_progress
from paramdiff.recipe.loading import parse_overrides
from paramdiff.recipe.schema import Recipe, resolve_recipe
from paramdiff.runs.folder import RunFolder

HELD_OUT_SHARE = 0.1
MAX_HELD_OUT = 50
FEWEST_FOR_HOLDING_OUT = 20
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""How normalization layers call what is no parameter; a state dict does not tell."""


@dataclass(frozen=True)
class Plan:
    """What ``paramdiff fit`` is about to do.

    Attributes:
        recipe: that does it.
        facts: label to value, for people.
        warnings: what should be looked at first.
    """

    recipe: Recipe
    facts: dict[str, str]
    warnings: tuple[str, ...] = ()


def refuse_early(
    sources: Sequence[str],
    out: Path,
    patterns: Sequence[str],
    *,
    with_buffers: bool = False,
    entry: str | None = None,
    device: str = "auto",
) -> None:
    """Refuse what can be refused before anything long is read or done.

    Args:
        sources: see ``plan_fit``.
        out: see ``plan_fit``.
        patterns: see ``plan_fit``.
        with_buffers: see ``plan_fit``.
        entry: see ``plan_fit``.
        device: see ``plan_fit``.

    Raises:
        UserError: the device is not there, the folder holds something else, or a source or a
            pattern is wrong.
    """
    resolve_device(device)
    RunFolder(out).refuse_foreign()
    runs = find_runs(sources)
    if patterns:
        _selected(runs, patterns, with_buffers, entry)


def _selected(
    runs: Runs, patterns: Sequence[str], with_buffers: bool, entry: str | None
) -> tuple[ParameterLayout, CheckpointFormat]:
    """What patterns select, and how the first checkpoint is stored."""
    first, checkpoint_format = runs[0][0].read(entry)
    names = [one for one in first if with_buffers or not one.endswith(BUFFERS)]
    return ParameterLayout.of(first, select(names, patterns)), checkpoint_format


def plan_fit(
    sources: Sequence[str],
    out: Path,
    *,
    patterns: Sequence[str] = (),
    with_buffers: bool = False,
    base: Path | None = None,
    entry: str | None = None,
    num_samples: int,
    minutes: float | None = None,
    seed: int = 0,
    device: str = "auto",
    overrides: Sequence[str] = (),
    progress: Progress = ignore_progress,
) -> Plan:
    """Choose what is generated and write the recipe.

    Args:
        sources: checkpoints, see ``find_runs``.
        out: the run's folder.
        patterns: which tensors to generate; none are all that differ between the checkpoints.
        with_buffers: whether patterns match normalization statistics, too.
        base: a complete checkpoint for what is not selected.
        entry: the key of the state dict, where a file holds several.
        num_samples: networks to generate.
        minutes: see ``configure``.
        seed: of everything.
        device: see ``configure``.
        overrides: ``path=value`` for the recipe.
        progress: told how many checkpoints are read, where they must be to choose.

    Returns:
        The plan.

    Raises:
        UserError: a source, a pattern or an override is wrong, or nothing differs.
    """
    found = find_checkpoints(sources)
    facts: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    if patterns:
        layout, checkpoint_format = _selected(found.runs, patterns, with_buffers, entry)
        chosen, num_parameters = list(layout.names), layout.num_parameters
        compared = None if base is None else layout.names  # the rest is the base's
        found, _ = without_duplicates(found, entry, compared, progress)
        num_checkpoints, warnings = len(found.listed), found.notes
        runs = f" in {len(found.runs)} runs" if len(found.runs) > 1 else ""
        facts["Checkpoints"] = f"{num_checkpoints}{runs}"
        facts["Generated"] = f"{num_parameters:,} parameters in {len(chosen)} tensors"
        facts |= found.facts
        if checkpoint_format.left_out:
            facts["Not repeated"] = first_names(checkpoint_format.left_out)
    else:
        inspection = inspect_checkpoints(sources, entry=entry, progress=progress)
        if inspection.refused is not None and base is None:
            raise UserError(inspection.refused)
        if not inspection.generated:
            raise UserError(_nothing_to_learn(found))
        chosen, facts = list(inspection.generated), inspection.facts
        warnings = (*inspection.notes, *inspection.warnings)
        num_parameters = inspection.num_generated
        num_checkpoints = inspection.num_checkpoints
    num_held_out = _num_held_out(num_checkpoints)
    sizes, changes = Configuration({}, {}), parse_overrides(overrides)
    if changes.get("preset", "default") == "default":
        sizes = configure(
            num_checkpoints - num_held_out,
            num_held_out,
            num_parameters,
            num_samples=num_samples,
            minutes=minutes,
            out=out,
            device=device,
        )
    content = {
        "name": out.name,
        "description": "somebody's checkpoints",
        "seed": seed,
        "task": None,
        "collection": {
            "kind": "folder",
            "checkpoints": list(sources),
            "base": None if base is None else str(base),
            "entry": entry,
            "num_held_out": num_held_out,
            "hold_out": "spaced",
        },
        "parameters": {"select": [escape(one) for one in chosen]},
        "diffusion": {"early_stopping": {}},
        "generation": {"num_samples": num_samples},
    }
    recipe = resolve_recipe(content | sizes.content, overrides, "paramdiff fit")
    facts["Held out"] = _held_out_in_words(num_held_out)
    facts |= sizes.facts(changes)
    return Plan(recipe, facts, warnings)


def _nothing_to_learn(found: FoundCheckpoints) -> str:
    checkpoints = [one for run in found.runs for one in run]
    if len(checkpoints) > 1:
        return "the checkpoints are equal: nothing to learn from"
    beside = f"; passed over: {'; '.join(found.skipped)}" if found.skipped else ""
    return f"{checkpoints[0].path}: expected several checkpoints, found this one alone{beside}"


def _num_held_out(num_checkpoints: int) -> int:
    """Evenly spaced ones: the end of a run, or a whole one, lies where the others never were."""
    if num_checkpoints < FEWEST_FOR_HOLDING_OUT:
        return 0
    return min(MAX_HELD_OUT, round(HELD_OUT_SHARE * num_checkpoints))


def _held_out_in_words(num_held_out: int) -> str:
    if num_held_out:
        return f"{num_held_out} evenly spaced checkpoints: they train nothing but say when to stop"
    return f"none (it takes {FEWEST_FOR_HOLDING_OUT} checkpoints)"
