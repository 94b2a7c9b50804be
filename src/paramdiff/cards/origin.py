"""Which checkpoints a pipeline learned from."""

import hashlib
from dataclasses import dataclass

from paramdiff.zoo.zoo import CheckpointEntry, ZooIndex


@dataclass(frozen=True)
class Origin:
    """The checkpoints that were learned from.

    Attributes:
        hashes: name to SHA-256, in order; of the files as they came where they are somebody's.
        num_held_out: further checkpoints that trained nothing.
        num_runs: training runs that they come from, as far as is known.
    """

    hashes: dict[str, str]
    num_held_out: int
    num_runs: int

    @classmethod
    def of(cls, index: ZooIndex, num_originals: int | None = None) -> "Origin":
        """What a zoo's index tells about its first so many originals, or all."""
        originals = [entry for entry in index.checkpoints if not entry.held_out]
        learned = originals[:num_originals]
        return cls(
            hashes={_name(entry): entry.source_sha256 or entry.sha256 for entry in learned},
            num_held_out=len(index.checkpoints) - len(originals),
            num_runs=len({entry.run for entry in learned}),
        )

    @property
    def sha256(self) -> str:
        """One hash for all of them: of their hashes, one a line, in order."""
        return hashlib.sha256("\n".join(self.hashes.values()).encode()).hexdigest()

    @property
    def words(self) -> str:
        """How many there are, and how many runs made them."""
        runs = "one run" if self.num_runs == 1 else f"{self.num_runs} runs"
        told = f"{len(self.hashes)} checkpoints of {runs}"
        return f"{told}, and {self.num_held_out} held out" if self.num_held_out else told


def _name(entry: CheckpointEntry) -> str:
    return entry.source or entry.file
