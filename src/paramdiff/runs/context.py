"""What every stage of a run needs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState

from paramdiff.parallel import FanOut
from paramdiff.progress import StageProgress
from paramdiff.random import seeded_generator
from paramdiff.recipe.schema import Recipe
from paramdiff.runs.folder import RunFolder


@dataclass(frozen=True)
class Context:
    """What every stage needs.

    The main process makes each artifact first; then the others find it. Only the codec and the
    denoiser are trained by all of them.
    """

    recipe: Recipe
    folder: RunFolder
    device: torch.device
    progress: StageProgress
    processes: PartialState
    fan_out: FanOut | None = None

    @property
    def scratch(self) -> Path:
        """An existing folder for unfinished work."""
        self.folder.state.mkdir(parents=True, exist_ok=True)
        return self.folder.state

    def state(self, name: str) -> Path:
        """A file or folder for a stage's unfinished work."""
        return self.scratch / name

    def seed(self, purpose: str) -> int:
        """A seed of its own for each purpose, from the generator's."""
        return seeded_generator(self.recipe.generator_seeds[0], purpose).initial_seed() % 2**31

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Record how long a stage without training took."""
        started = time.monotonic()
        yield
        self.folder.log.record(stage, time.monotonic() - started)
