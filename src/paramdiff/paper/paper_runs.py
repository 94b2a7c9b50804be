"""The finished runs of a sweep's folder, by the settings of the paper that they reproduce.

A run stands for the setting that its folder is named after. Its base, the run that it changes, is
the run in the same folder from which it differs in exactly the setting's own fields: the paper's
default, or another recipe to which ablations were applied.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from paramdiff.evaluation.evaluation_file import read_evaluation
from paramdiff.evaluation.schema import ARRAYS_FILE, EVALUATION_FILE, Evaluation
from paramdiff.paper.published import Published, deviations_of, published_for
from paramdiff.paper.table_schema import BASE, PaperTable, Setting, load_paper_tables
from paramdiff.recipe.differences import OWN, differences, variation
from paramdiff.recipe.loading import list_recipes
from paramdiff.recipe.schema import load_factors
from paramdiff.storage import read_tensors


@dataclass(frozen=True)
class PaperRun:
    """One finished run.

    Attributes:
        name: of its folder in the sweep's.
        folder: that folder.
        evaluation: its numbers.
        deviations: fields that differ from the paper's recipe; empty if it has another base.
        base: the run in the same folder that it changes; None if there is none.
        is_on_other_base: if the base is another recipe than the one that the paper changed.
    """

    name: str
    folder: Path
    evaluation: Evaluation
    deviations: tuple[str, ...] = ()
    base: "PaperRun | None" = None
    is_on_other_base: bool = False

    @cached_property
    def tensors(self) -> dict[str, Any]:
        """The run's arrays, read once: see ``paramdiff.evaluation.schema.ARRAYS``."""
        return read_tensors(self.folder / ARRAYS_FILE)


@dataclass(frozen=True)
class PaperRuns:
    """Everything that tables and figures are drawn from.

    Attributes:
        tables: all tables and figures, in the order of the paper.
        by_setting: finished runs by the key of their setting.
        published: published numbers by the key of their setting.
        sizes: generated parameters of every shipped recipe.
        failures: why a run failed, by the key of its setting.
    """

    tables: Sequence[PaperTable]
    by_setting: Mapping[str, PaperRun]
    published: Mapping[str, Published]
    sizes: Mapping[str, int]
    failures: Mapping[str, str]

    def run_of(self, table: PaperTable, setting: Setting) -> PaperRun | None:
        """Find the run of a setting; for a table's default, the base of the other settings.

        Args:
            table: the table or figure.
            setting: one of its settings.

        Returns:
            The run; None if there is none.
        """
        if setting.key == table.default:
            own = [self.by_setting.get(other.key) for other in table.settings]
            of_all = list(self.by_setting.values())
            for among in (own, of_all):
                bases = [run.base for run in among if run and run.is_on_other_base and run.base]
                if bases and (among is own or setting.key not in self.by_setting):
                    names = Counter(base.name for base in bases)
                    most = names.most_common(1)[0][0]
                    return next(base for base in bases if base.name == most)
        return self.by_setting.get(setting.key)

    def has_run_for(self, table: PaperTable) -> bool:
        """Tell if a run belongs to a table or figure, other than the default of many of them."""
        if not table.needs_runs:
            return False
        own = [one for one in table.settings if one.key != table.default]
        if not own:
            return self.run_of(table, table.settings[0]) is not None
        return any(one.key in self.by_setting for one in own)


def gather_runs(out: Path, failures: Mapping[str, str]) -> PaperRuns:
    """Read the finished runs of a sweep's folder that a table or figure of the paper shows.

    Args:
        out: the sweep's folder.
        failures: why a recipe failed, by its name.

    Returns:
        The runs, with the tables and figures and the published numbers.

    Raises:
        UserError: a run's ``evaluation.json`` is malformed.
    """
    finished = {name: _Finished.read(name, out / name) for name in _finished_in(out)}
    tables = tuple(load_paper_tables().values())
    settings = {one.key: one for table in tables for one in table.settings}
    runs: dict[str, PaperRun] = {}
    for key, setting in settings.items():
        name = _name_of(setting, finished)
        if name is not None:
            runs[key] = _run(setting, finished[name], finished)
    published = {key: found for key in settings if (found := published_for(key)) is not None}
    sizes = {recipe.name: recipe.num_parameters for recipe in list_recipes()}
    return PaperRuns(tables, runs, published, sizes, failures)


@dataclass(frozen=True)
class _Finished:
    name: str
    folder: Path
    recipe: dict[str, Any]

    @classmethod
    def read(cls, name: str, folder: Path) -> "_Finished":
        text = (folder / "recipe.yaml").read_text(encoding="utf-8")
        return cls(name, folder, yaml.safe_load(text))


def _finished_in(out: Path) -> Iterator[str]:
    for path in sorted((*out.glob("*/recipe.yaml"), *out.glob("*/*/recipe.yaml"))):
        if (path.parent / EVALUATION_FILE).is_file():
            yield path.parent.relative_to(out).as_posix()


def _name_of(setting: Setting, finished: Mapping[str, _Finished]) -> str | None:
    """Find the folder of a setting: its own, or that of the same change to another base."""
    if setting.key in finished or setting.change is None:
        return setting.key if setting.key in finished else None
    ending = variation(setting.change)
    return next((name for name in finished if name.endswith(ending)), None)


def _run(setting: Setting, found: _Finished, finished: Mapping[str, _Finished]) -> PaperRun:
    evaluation = read_evaluation(found.folder / EVALUATION_FILE)
    base = _base_of(setting, found, finished)
    is_on_other_base = base is not None and base.name != BASE
    return PaperRun(
        name=found.name,
        folder=found.folder,
        evaluation=evaluation,
        deviations=() if is_on_other_base else deviations_of(setting.key, found.recipe),
        base=base,
        is_on_other_base=is_on_other_base,
    )


def _base_of(
    setting: Setting, found: _Finished, finished: Mapping[str, _Finished]
) -> PaperRun | None:
    """Find the complete recipe's run that differs from this one in the setting's fields only."""
    own = set(load_factors(setting.recipe))
    if setting.change is not None:
        own.add(setting.change.partition("=")[0])
    if not own:
        return None
    candidates = []
    for other in finished.values():
        if "," in other.name or other.name.startswith("ablation/"):
            continue
        changed = set(differences(other.recipe, found.recipe)) - set(OWN)
        if changed <= own:
            # the paper's own first, then the one from which most of the fields differ: all of them
            candidates.append((other.name != BASE, -len(changed), other.name))
    if not candidates:
        return None
    base = finished[min(candidates)[-1]]
    return PaperRun(
        name=base.name,
        folder=base.folder,
        evaluation=read_evaluation(base.folder / EVALUATION_FILE),
        deviations=() if base.name != BASE else deviations_of(base.name, base.recipe),
    )
