"""A run's folder: where each artefact lies, whose it is, and what can be taken over from another.

RUN/
  recipe.yaml  zoo/  pipeline/  generated/  evaluation.json  arrays.safetensors  report.html
  aligned/             the zoo with its units rearranged, where the recipe says so
  log.jsonl            losses, seconds and peak memory of each stage
  seeds/1/             recipe.yaml, pipeline/, generated/ and log.jsonl of a further generator seed
  .partial-state/      unfinished work; gone when the run is complete
"""

import json
import resource
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from paramdiff.artefacts import PARTIAL, remove, write_text, written_aside
from paramdiff.errors import UserError
from paramdiff.evaluation.schema import Cost
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

STATUS = Path("/proc/self/status")
"""Where Linux tells what memory a process holds."""

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

    def claim(self, recipe: Recipe) -> bool:
        """Make the folder this recipe's, or check that it is.

        Args:
            recipe: the run's.

        Returns:
            Whether it was made this recipe's just now.

        Raises:
            UserError: the folder holds another recipe's run, or something else.
        """
        path = self.root / "recipe.yaml"
        if path.is_file():
            difference = first_difference(_load(path), recipe.model_dump(mode="json"))
            if difference:
                raise UserError(
                    f"{self.root}: this folder belongs to another recipe: {difference}"
                )
            return False
        if self.root.exists():
            if not self.root.is_dir():
                raise UserError(f"{self.root}: expected a folder, found a file")
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

    def abandon(self) -> None:
        """Undo ``claim`` where no stage could be finished."""
        remove(self.state)
        remove(self.root / "recipe.yaml")
        if not any(self.root.iterdir()):
            self.root.rmdir()

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
                        self.record(**record)
                with written_aside(self.artefact(stage)) as aside:
                    shutil.copytree(other.artefact(stage), aside)
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
        shared: list[str] = []
        for stage, (_, fields) in STAGES.items():
            equal = all(_get(theirs, field) == _get(ours, field) for field in fields)
            if equal and stage == "alignment" and not ours["parameters"]["align"]:
                continue
            if not equal or not self.artefact(stage).exists():
                break
            shared.append(stage)
        return shared

    def trunk_for(self, recipe: Recipe) -> Path | None:
        """The pre-trained network of this run, where a recipe's own would be the same.

        Args:
            recipe: another run's.

        Returns:
            Its state dict: the zoo's base, which runs that branch from one trunk do not change.
        """
        theirs, ours = _load(self.root / "recipe.yaml"), recipe.model_dump(mode="json")
        fields = (*TRUNK_FIELDS, "collection.kind", "collection.independent_runs")
        if any(_get(theirs, field) != _get(ours, field) for field in fields):
            return None
        if ours["collection"].get("pretraining") is None:
            return None
        path = self.artefact("zoo") / BASE_FILE
        return path if path.is_file() else None

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
        losses: list[float] | None = None,
        peak_memory_mb: float | None = None,
    ) -> None:
        """Write a stage's record, in place of an earlier one of the same stage."""
        peak = peak_memory_mb if peak_memory_mb is not None else round(peak_memory(), 1)
        new = {
            "stage": stage,
            "seconds": round(seconds, 3),
            "peak_memory_mb": peak,
            "losses": losses or [],
        }
        records = [record for record in self.log() if record["stage"] != stage]
        lines = [json.dumps(record, allow_nan=False) for record in [*records, new]]
        write_text(self.root / "log.jsonl", "\n".join(lines) + "\n")

    def losses(self, stage: str) -> list[float]:
        """The training losses of a stage."""
        return next((r["losses"] for r in self.log() if r["stage"] == stage), [])

    def finish(self) -> None:
        """Remove unfinished work."""
        remove(self.state)


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


def peak_memory() -> float:
    """The most memory in MB that the process, or on CUDA the device, has held so far."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    if STATUS.is_file():  # what getrusage tells counts the program that started this one, too
        (line,) = (one for one in STATUS.read_text().splitlines() if one.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError:
        raise UserError(f"{path}: expected a resolved recipe, found no YAML") from None


def _get(content: Any, path: str) -> Any:
    for key in path.split("."):
        if isinstance(content, list):
            content = content[int(key)]
        else:
            content = content.get(key) if isinstance(content, dict) else None
    return content
