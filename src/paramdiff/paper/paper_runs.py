"""Which runs in a sweep's folder stand for which settings of the paper.

A run stands for the setting that its folder is named after. What it changes, its base, is the run
in the same folder from which it differs in exactly the setting's own fields: the paper's, or
another one that ablations were laid over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from paramdiff.evaluation.evaluation_file import read_evaluation
from paramdiff.evaluation.schema import EVALUATION_FILE
from paramdiff.paper.evidence import Evidence, Run
from paramdiff.paper.exhibit import Setting, load_exhibits, variation
from paramdiff.paper.reported import departures_of, published_for
from paramdiff.recipe import load_factors
from paramdiff.recipe.differences import OWN, differences
from paramdiff.recipe.listing import list_recipes

PAPERS_BASE = "main/cifar100_resnet18"
"""What all of the paper's ablations change."""


def gather(out: Path, failures: Mapping[str, str]) -> Evidence:
    """Read the finished runs of a sweep's folder that a table or figure of the paper shows.

    Args:
        out: the sweep's folder.
        failures: why a recipe failed, by its name.

    Returns:
        What exhibits are drawn from.

    Raises:
        UserError: a run's ``evaluation.json`` is not what it should be.
    """
    finished = {name: _Finished.read(name, out / name) for name in _finished_in(out)}
    exhibits = tuple(load_exhibits().values())
    settings = {one.key: one for exhibit in exhibits for one in exhibit.settings}
    runs: dict[str, Run] = {}
    for key, setting in settings.items():
        name = _name_of(setting, finished)
        if name is not None:
            runs[key] = _run(setting, finished[name], finished)
    published = {key: found for key in settings if (found := published_for(key)) is not None}
    sizes = {recipe.name: recipe.num_parameters for recipe in list_recipes()}
    return Evidence(exhibits, runs, published, sizes, failures)


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
    """The folder of a setting: its own, or that of the same change to another base."""
    if setting.key in finished or setting.change is None:
        return setting.key if setting.key in finished else None
    ending = variation(setting.change)
    return next((name for name in finished if name.endswith(ending)), None)


def _run(setting: Setting, found: _Finished, finished: Mapping[str, _Finished]) -> Run:
    evaluation = read_evaluation(found.folder / EVALUATION_FILE)
    base = _base_of(setting, found, finished)
    is_on_other_base = base is not None and base.name != PAPERS_BASE
    return Run(
        name=found.name,
        folder=found.folder,
        evaluation=evaluation,
        departures=() if is_on_other_base else departures_of(setting.key, found.recipe),
        base=base,
        is_on_other_base=is_on_other_base,
    )


def _base_of(setting: Setting, found: _Finished, finished: Mapping[str, _Finished]) -> Run | None:
    """The complete recipe's run from which this one differs in the setting's fields only."""
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
            candidates.append((other.name != PAPERS_BASE, -len(changed), other.name))
    if not candidates:
        return None
    base = finished[min(candidates)[-1]]
    return Run(
        name=base.name,
        folder=base.folder,
        evaluation=read_evaluation(base.folder / EVALUATION_FILE),
        departures=() if base.name != PAPERS_BASE else departures_of(base.name, base.recipe),
    )
