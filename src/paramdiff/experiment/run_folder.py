"""A run's folder: where each artefact lies, whose it is, and what can be taken over from another.

RUN/
  recipe.yaml  zoo/  pipeline/  generated/  evaluation.json  arrays.safetensors  report.html
  aligned/             the zoo with its units rearranged, where the recipe says so
  log.jsonl            losses, seconds and peak memory of each stage
  seeds/1/             recipe.yaml, pipeline/, generated/ and log.jsonl of a further generator seed
  .partial-state/      unfinished work; gone when the run is complete
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from paramdiff.artefacts import CARD_FILE, PARTIAL, remove, write_text, written_aside
from paramdiff.early_stopping import Look
from paramdiff.errors import UserError
from paramdiff.evaluation.schema import Cost
from paramdiff.experiment.peak_memory import forget_peak_memory, peak_memory
from paramdiff.recipe import Recipe, first_difference, to_yaml
from paramdiff.zoo.pretraining import trunk_file
from paramdiff.zoo.zoo import BASE_FILE

STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "zoo": ("zoo", ("seed", "task", "collection", "parameters.select")),
    "alignment": ("aligned", ("parameters.align",)),
    "parameter space": ("pipeline/parameter_space", ("parameters",)),
    "codec": ("pipeline/codec", ("codec", "seeds.0")),
    "denoiser": ("pipeline/denoiser", ("diffusion",)),
    "generation": ("generated", ("generation",)),
}
"""Stage to its artefact and the fields it depends on, beside those of the stages before it."""

SHARED = ("zoo", "alignment")
"""Stages that all generator seeds share."""

TRUNK_FIELDS = ("seed", "task", "collection.pretraining")
"""What the pre-trained network depends on."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run.

    Attributes:
        root: the folder.
        zoo_root: the run whose zoo this one shares, where it is a further generator seed's.
    """

    root: Path
    zoo_root: Path | None = None

    def artefact(self, stage: str) -> Path:
        """Where a stage's artefact lies."""
        root = self.zoo_root or self.root if stage in SHARED else self.root
        return root / STAGES[stage][0]

    def of_generator(self, seed: int) -> "RunFolder":
        """The folder of a further generator seed."""
        return RunFolder(self.root / "seeds" / str(seed), self.root)

    @property
    def pipeline(self) -> Path:
        """The diffusers folder."""
        return self.root / "pipeline"

    @property
    def state(self) -> Path:
        """Unfinished work."""
        return self.root / f"{PARTIAL}state"

    def is_past(self, stage: str) -> bool:
        """Whether a later stage is finished."""
        names = list(STAGES)
        return any(self.artefact(one).exists() for one in names[names.index(stage) + 1 :])

    def claim(self, recipe: Recipe, *, may_change: bool = False) -> bool:
        """Make the folder this recipe's, or check that it is.

        Args:
            recipe: the run's.
            may_change: whether another recipe of the same zoo may take the folder over as long as
                no denoiser and no other training was begun; finished stages that it does not share
                are removed.

        Returns:
            Whether it was made this recipe's just now.

        Raises:
            UserError: the folder holds another recipe's run, or something else.
        """
        path = self.root / "recipe.yaml"
        if path.is_file():
            difference = first_difference(_load(path), recipe.model_dump(mode="json"))
            if difference and not (may_change and self._change_to(recipe)):
                raise UserError(
                    f"{self.root}: this folder belongs to another recipe: {difference}"
                )
            return False
        if self.root.exists():
            found = [
                entry.name for entry in self.root.iterdir() if not entry.name.startswith(PARTIAL)
            ]
            if found:
                raise UserError(
                    f"{self.root}: expected an empty folder or a run of this recipe, "
                    f"found {found[0]!r}"
                )
        write_text(path, to_yaml(recipe))
        return True

    def _change_to(self, recipe: Recipe) -> bool:
        shared = self.stages_for(recipe)
        unfinished = any((self.state / f"{stage}.pt").exists() for stage in STAGES)
        if "zoo" not in shared or unfinished or self.is_past("codec"):
            return False
        for stage in STAGES:
            if stage not in shared:
                remove(self.artefact(stage))
        remove(self.state)
        write_text(self.root / "recipe.yaml", to_yaml(recipe))
        return True

    def abandon(self) -> None:
        """Undo ``claim`` where no stage could be finished."""
        remove(self.state)
        remove(self.root / "recipe.yaml")

    def reuse(self, other: "RunFolder", recipe: Recipe) -> list[str]:
        """Copy the stages of another run whose fields are all equal to this recipe's.

        Where the zoo is another but starts from the same pre-trained network, that is copied.

        Args:
            other: a run's folder.
            recipe: this run's.

        Returns:
            The stages taken over, in order.

        Raises:
            UserError: the other folder is no run.
        """
        taken = other.stages_for(recipe)
        for stage in taken:
            if not self.artefact(stage).exists():
                for record in other.log():
                    if record["stage"] == stage:
                        self._write(record)
                with written_aside(self.artefact(stage)) as aside:
                    without_card = shutil.ignore_patterns(CARD_FILE)  # it tells their scores
                    shutil.copytree(other.artefact(stage), aside, ignore=without_card)
        trunk, own = other.trunk_for(recipe), trunk_file(self.state / "zoo", 0)
        if "zoo" not in taken and trunk is not None and not own.is_file():
            own.parent.mkdir(parents=True, exist_ok=True)
            with written_aside(own) as aside:
                shutil.copyfile(trunk, aside)
        return taken

    def stages_for(self, recipe: Recipe) -> list[str]:
        """The finished stages of this run that a recipe could take over.

        Args:
            recipe: another run's.

        Returns:
            The stages whose fields are all equal, in order, up to the first that is not.

        Raises:
            UserError: the folder is no run.
        """
        if not (self.root / "recipe.yaml").is_file():
            raise UserError(f"{self.root}: expected a run's folder with recipe.yaml, found none")
        theirs, ours = _load(self.root / "recipe.yaml"), recipe.model_dump(mode="json")
        shared = [stage for stage in equal_stages(theirs, ours) if _is_made(stage, ours)]
        return list(takewhile(lambda stage: self.artefact(stage).exists(), shared))

    def trunk_for(self, recipe: Recipe) -> Path | None:
        """The pre-trained network of this run, where a recipe's own would be the same.

        Args:
            recipe: another run's.

        Returns:
            Its state dict: the zoo's base, which runs that branch from one trunk do not change.
        """
        if not has_equal_trunk(_load(self.root / "recipe.yaml"), recipe.model_dump(mode="json")):
            return None
        path = self.artefact("zoo") / BASE_FILE
        return path if path.is_file() else None

    def value(self, field: str) -> Any:
        """What the folder's recipe says of a dotted field; None where there is none."""
        path = self.root / "recipe.yaml"
        content = _load(path) if path.is_file() else None
        return _get(content, field) if isinstance(content, dict) else None

    def log(self) -> list[dict[str, Any]]:
        """The records of finished stages."""
        path = self.root / "log.jsonl"
        if not path.is_file():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def record(
        self,
        stage: str,
        seconds: float,
        losses: Sequence[float] = (),
        looks: Sequence[Look] = (),
    ) -> None:
        """Write a stage's record, in place of an earlier one of the same stage."""
        new = {
            "stage": stage,
            "seconds": round(seconds, 3),
            "peak_memory_mb": round(peak_memory(), 1),
            "losses": list(losses),
            "looks": [asdict(look) for look in looks],
        }
        self._write(new)
        forget_peak_memory()  # what the next stage holds is its own

    def _write(self, new: dict[str, Any]) -> None:
        records = [record for record in self.log() if record["stage"] != new["stage"]]
        lines = [json.dumps(record, allow_nan=False) for record in [*records, new]]
        write_text(self.root / "log.jsonl", "\n".join(lines) + "\n")

    def losses(self, stage: str) -> list[float]:
        """The training losses of a stage."""
        return next((r["losses"] for r in self.log() if r["stage"] == stage), [])

    def looks(self, stage: str) -> list[Look]:
        """What looks at a module found while the stage trained it."""
        return [
            Look(**look)
            for record in self.log()
            if record["stage"] == stage
            for look in record["looks"]
        ]

    def finish(self) -> None:
        """Remove unfinished work."""
        remove(self.state)


def equal_stages(one: Any, other: Any) -> list[str]:
    """The first stages in whose fields two recipes, as JSON, are equal."""

    def is_equal(stage: str) -> bool:
        return all(_get(one, field) == _get(other, field) for field in STAGES[stage][1])

    return list(takewhile(is_equal, STAGES))


def _is_made(stage: str, recipe: Any) -> bool:
    """Whether a recipe, as JSON, has the stage at all."""
    return stage != "alignment" or recipe["parameters"]["align"]


def has_equal_trunk(one: Any, other: Any) -> bool:
    """Whether two recipes, as JSON, branch from the same pre-trained network."""
    fields = (*TRUNK_FIELDS, "collection.kind", "collection.independent_runs")
    is_equal = all(_get(one, field) == _get(other, field) for field in fields)
    return is_equal and _get(one, "collection.pretraining") is not None


def total_costs(folders: Sequence[RunFolder]) -> dict[str, Cost]:
    """Seconds and peak memory of every finished stage, over all generator seeds."""
    records: dict[str, list[dict[str, Any]]] = {}
    for folder in folders:
        for record in folder.log():
            records.setdefault(record["stage"], []).append(record)
    return {
        stage: Cost(
            seconds=round(sum(record["seconds"] for record in found), 3),
            peak_memory_mb=max(record["peak_memory_mb"] for record in found),
        )
        for stage, found in records.items()
    }


def _load(path: Path) -> Any:
    """A dumped recipe; fields that it was written before have their defaults."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError:
        raise UserError(f"{path}: expected a resolved recipe, found no YAML") from None
    try:
        return Recipe.model_validate(content).model_dump(mode="json")
    except ValidationError:
        return content


def _get(content: Any, path: str) -> Any:
    for key in path.split("."):
        if isinstance(content, list):
            content = content[int(key)]
        else:
            content = content.get(key) if isinstance(content, dict) else None
    return content
