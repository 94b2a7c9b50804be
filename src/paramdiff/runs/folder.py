"""A run's folder: where each artifact lies, whose it is, and what can be taken over from another.

RUN/
  recipe.yaml  zoo/  pipeline/  generated/  evaluation.json  arrays.safetensors  report.html
  aligned/             the zoo with its units rearranged, where the recipe says so
  log.jsonl            losses, seconds and peak memory of each stage
  seeds/1/             recipe.yaml, pipeline/, generated/ and log.jsonl of a further generator seed
  .partial-state/      unfinished work; gone when the run is complete
"""

import shutil
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from paramdiff.errors import UserError, of_an_earlier_version
from paramdiff.recipe.differences import first_difference
from paramdiff.recipe.error_messages import renamed
from paramdiff.recipe.schema import Recipe, to_yaml
from paramdiff.runs.stage_fields import (
    SHARED,
    STAGES,
    equal_stages,
    field_of,
    has_equal_pretraining,
    is_made,
)
from paramdiff.runs.stage_log import StageLog
from paramdiff.storage import CARD_FILE, PARTIAL, remove, sha256_of, write_text, written_aside
from paramdiff.zoo.pretrain import pretrained_file
from paramdiff.zoo.zoo import BASE_FILE


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run.

    Attributes:
        root: the folder.
        zoo_root: the run whose zoo this one shares, where it is a further generator seed's.
    """

    root: Path
    zoo_root: Path | None = None

    def artifact(self, stage: str) -> Path:
        """Where a stage's artifact lies."""
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

    @property
    def log(self) -> StageLog:
        """The records of finished stages."""
        return StageLog(self.root / "log.jsonl")

    def is_past(self, stage: str) -> bool:
        """Whether a later stage is finished."""
        names = list(STAGES)
        return any(self.artifact(one).exists() for one in names[names.index(stage) + 1 :])

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
        self.refuse_foreign()
        remove(self.state)  # whose work that was, nobody knows
        write_text(path, to_yaml(recipe))
        return True

    def refuse_foreign(self) -> None:
        """Raise a ``UserError`` where the folder holds something and is no run."""
        if not self.root.exists() or (self.root / "recipe.yaml").is_file():
            return
        if not self.root.is_dir():
            raise UserError(f"{self.root}: expected a folder for the run, found a file")
        found = [entry.name for entry in self.root.iterdir() if not entry.name.startswith(PARTIAL)]
        if found:
            raise UserError(
                f"{self.root}: expected an empty folder or a run of this recipe, found "
                f"{found[0]!r}"
            )

    def _change_to(self, recipe: Recipe) -> bool:
        shared = self.stages_for(recipe)
        unfinished = any((self.state / f"{stage}.pt").exists() for stage in STAGES)
        if "zoo" not in shared or unfinished or self.is_past("codec"):
            return False
        for stage in STAGES:
            if stage not in shared:
                remove(self.artifact(stage))
        kept = [self.artifact(stage) for stage in shared]
        for entry in self.pipeline.iterdir() if self.pipeline.is_dir() else ():
            if entry not in kept:
                remove(entry)
        remove(self.state)
        write_text(self.root / "recipe.yaml", to_yaml(recipe))
        return True

    def abandon(self) -> None:
        """Undo ``claim`` where nothing was finished, not even a part of a stage."""
        if not any(path.is_file() for path in self.state.rglob("*")):
            remove(self.state)
            remove(self.root / "recipe.yaml")

    def reuse(self, other: "RunFolder", recipe: Recipe) -> list[str]:
        """Copy the stages of another run whose fields are all equal to this recipe's.

        Where the zoo is another but starts from the same pre-trained network, that is copied.

        Args:
            other: a run's folder.
            recipe: this run's.

        Returns:
            The stages taken over, in order; none after one that was made here and differs.

        Raises:
            UserError: the other folder is no run.
        """
        taken: list[str] = []
        for stage in other.stages_for(recipe):
            own, theirs = self.artifact(stage), other.artifact(stage)
            if not own.exists():
                self.log.take_over(other.log, stage)
                with written_aside(own) as aside:
                    shutil.copytree(theirs, aside, ignore=_WITHOUT_CARD)
            elif not _is_same(own, theirs):
                break  # what comes after was made from something else
            taken.append(stage)
        pretrained, copied = other.pretrained_for(recipe), pretrained_file(self.state / "zoo", 0)
        if not self.artifact("zoo").exists() and pretrained is not None and not copied.is_file():
            with written_aside(copied) as aside:
                shutil.copyfile(pretrained, aside)
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
        shared = [stage for stage in equal_stages(theirs, ours) if is_made(stage, ours)]
        return list(takewhile(lambda stage: self.artifact(stage).exists(), shared))

    def pretrained_for(self, recipe: Recipe) -> Path | None:
        """The pre-trained network of this run, where a recipe's own would be the same.

        Args:
            recipe: another run's.

        Returns:
            Its state dict: the zoo's base, which runs from one pretrained network do not change.
        """
        if not has_equal_pretraining(
            _load(self.root / "recipe.yaml"), recipe.model_dump(mode="json")
        ):
            return None
        path = self.artifact("zoo") / BASE_FILE
        return path if path.is_file() else None

    def value(self, field: str) -> Any:
        """What the folder's recipe says of a dotted field; None where there is none."""
        path = self.root / "recipe.yaml"
        content = _load(path) if path.is_file() else None
        return field_of(content, field) if isinstance(content, dict) else None

    def finish(self) -> None:
        """Remove unfinished work."""
        remove(self.state)


_WITHOUT_CARD = shutil.ignore_patterns(CARD_FILE)  # it tells their scores


def _is_same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same, but for what is written for people."""

    def files(root: Path) -> dict[Path, str]:
        paths = [path for path in root.rglob("*") if path.is_file() and path.name != CARD_FILE]
        return {path.relative_to(root): sha256_of(path) for path in paths}

    return files(one) == files(other)


def _load(path: Path) -> Any:
    """A dumped recipe; fields that it was written before have their defaults."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError:
        raise UserError(f"{path}: expected a resolved recipe, found no YAML") from None
    old = renamed(content) if isinstance(content, dict) else None
    if old is not None:
        raise of_an_earlier_version(path, old)
    try:
        return Recipe.model_validate(content).model_dump(mode="json")
    except ValidationError:
        return content
