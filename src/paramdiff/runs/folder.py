"""The folder of a run and the paths in it.

RUN/
  recipe.yaml  zoo/  pipeline/  generated/  evaluation.json  arrays.safetensors  report.html
  aligned/             the zoo with permuted channels, if the recipe aligns it
  log.jsonl            losses, seconds and peak memory of each stage
  seeds/1/             recipe.yaml, pipeline/, generated/ and log.jsonl of a further generator seed
  .partial-state/      unfinished work; gone when the run is complete
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from paramdiff.errors import UserError, of_an_earlier_version
from paramdiff.recipe.error_messages import renamed
from paramdiff.recipe.schema import Recipe
from paramdiff.runs.stage_log import StageLog
from paramdiff.storage import PARTIAL, remove

RECIPE_FILE = "recipe.yaml"
SHARED = ("zoo", "aligned")
"""Artifacts that all generator seeds share."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run.

    Attributes:
        root: the folder.
        zoo_root: for a further generator seed, the root of the run whose zoo it shares.
    """

    root: Path
    zoo_root: Path | None = None

    def artifact(self, name: str) -> Path:
        """Return the path of a stage's artifact, such as ``zoo`` or ``pipeline/codec``."""
        root = self.zoo_root or self.root if name in SHARED else self.root
        return root / name

    def of_seed(self, seed: int) -> "RunFolder":
        """Return the folder of a further generator seed."""
        return RunFolder(self.root / "seeds" / str(seed), self.root)

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe; a folder that has one is a run."""
        return self.root / RECIPE_FILE

    @property
    def pipeline(self) -> Path:
        """The diffusers folder."""
        return self.root / "pipeline"

    @property
    def state(self) -> Path:
        """The folder of unfinished work."""
        return self.root / f"{PARTIAL}state"

    @property
    def log(self) -> StageLog:
        """The records of finished stages."""
        return StageLog(self.root / "log.jsonl")

    def saved_recipe(self) -> Any:
        """Return the run's recipe as JSON; fields newer than the run have their defaults.

        Returns:
            The recipe; None if the folder holds none.

        Raises:
            UserError: the file is not YAML, or an earlier version wrote it.
        """
        if not self.recipe_file.is_file():
            return None
        try:
            content = yaml.safe_load(self.recipe_file.read_text(encoding="utf-8"))
        except yaml.YAMLError:
            raise UserError(f"{self.recipe_file}: this resolved recipe is not YAML") from None
        old = renamed(content) if isinstance(content, dict) else None
        if old is not None:
            raise of_an_earlier_version(self.recipe_file, old)
        try:
            return Recipe.model_validate(content).model_dump(mode="json")
        except ValidationError:
            return content

    def value(self, field: str) -> Any:
        """Return the value of a dotted field of the run's recipe; None if it has none."""
        return field_of(self.saved_recipe(), field)

    def refuse_foreign(self) -> None:
        """Raise a ``UserError`` if the folder is not empty and no run."""
        if not self.root.exists() or self.recipe_file.is_file():
            return
        if not self.root.is_dir():
            raise UserError(f"{self.root}: this is a file, not a folder for the run")
        found = [entry.name for entry in self.root.iterdir() if not entry.name.startswith(PARTIAL)]
        if found:
            raise UserError(
                f"{self.root}: the folder is neither empty nor a run: it holds {found[0]!r}; "
                "choose another folder"
            )

    def finish(self) -> None:
        """Remove unfinished work."""
        remove(self.state)


def field_of(content: Any, path: str) -> Any:
    """Return the value of a dotted field of a recipe, as JSON; None if it has none."""
    for key in path.split("."):
        if isinstance(content, list):
            content = content[int(key)]
        else:
            content = content.get(key) if isinstance(content, dict) else None
    return content
