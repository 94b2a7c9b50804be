"""Answers that were given before: the runs of a sweep share most of what they compare with.

Originals, averages, Gaussians and the other free alternatives are the same in every run over one
zoo. A sweep keeps what each parameter vector answered, by the vector's hash, in one file per task
and base checkpoint, so that only what is new is scored.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.artefacts import read_tensors, sha256_of, write_tensors
from paramdiff.evaluation.behaviour import Answers, Behaviour
from paramdiff.recipe import Recipe
from paramdiff.zoo.zoo import BASE_FILE

DIGEST_BYTES = 16
_PARTS = ("validation", "test", "wrong", "labels")


def answers_file(folder: Path, recipe: Recipe, zoo: Path, device: str) -> Path:
    """The file of everything that determines what a vector answers.

    Args:
        folder: of all such files.
        recipe: whose task is asked, about which tensors.
        zoo: holds the complete checkpoint that vectors are laid into.
        device: which kind computes.

    Returns:
        Its path.
    """
    known = [
        recipe.model_dump(mode="json", include={"task": True, "parameters": {"select"}}),
        sha256_of(zoo / BASE_FILE),
        device,
    ]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    return folder / f"{digest.hexdigest()[:DIGEST_BYTES]}.safetensors"


class RememberedAnswers:
    """Asks a behaviour for what no vector before has answered.

    Args:
        behaviour: that answers.
        file: of the answers so far; need not exist.
    """

    def __init__(self, behaviour: Behaviour, file: Path) -> None:
        self._behaviour, self._file = behaviour, file
        self._rows: dict[bytes, int] = {}
        self._kept: dict[str, list[Tensor]] = {part: [] for part in _PARTS}
        if file.is_file():
            stored = read_tensors(file)
            digests = stored.pop("digests")
            self._rows = {bytes(digest.tolist()): row for row, digest in enumerate(digests)}
            self._kept = {part: list(stored.get(part, [])) for part in _PARTS}

    def behaviour(self) -> Behaviour:
        """The behaviour, with its answers remembered."""
        return replace(self._behaviour, answers=self.answers)

    def answers(self, vectors: Tensor) -> Answers:
        """What the networks ``[M, P]`` do, see ``Behaviour``."""
        digests = [_digest(vector) for vector in vectors]
        first = {digest: row for row, digest in reversed(list(enumerate(digests)))}
        new = sorted(row for digest, row in first.items() if digest not in self._rows)
        if new:
            found = self._behaviour.answers(vectors[new])
            for number, row in enumerate(new):
                self._rows[digests[row]] = len(self._kept["test"])
                for part in _PARTS:
                    values = getattr(found, part)
                    if values is not None:
                        self._kept[part].append(_compact(values[number]))
        rows = [self._rows[digest] for digest in digests]
        parts = {
            part: torch.stack([kept[row] for row in rows]) if kept else None
            for part, kept in self._kept.items()
        }
        labels = parts["labels"]
        assert parts["validation"] is not None and parts["test"] is not None
        return Answers(
            validation=parts["validation"],
            test=parts["test"],
            wrong=parts["wrong"],
            labels=None if labels is None else labels.long(),
        )

    def write(self) -> None:
        """Keep the answers for other runs."""
        digests = torch.tensor([list(digest) for digest in self._rows], dtype=torch.uint8)
        parts = {part: torch.stack(kept) for part, kept in self._kept.items() if kept}
        write_tensors(self._file, {"digests": digests} | parts)


def _digest(vector: Tensor) -> bytes:
    raw = vector.contiguous().view(torch.uint8).numpy().data
    return hashlib.blake2b(raw, digest_size=DIGEST_BYTES).digest()


def _compact(values: Tensor) -> Tensor:
    """Class labels take two bytes each."""
    fits = values.dtype == torch.int64 and values.numel() and int(values.max()) < 2**15
    return values.to(torch.int16) if fits else values.clone()
