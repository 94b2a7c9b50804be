"""Answers that were given before: the runs of a sweep share most of what they compare with.

Originals, averages, Gaussians and the other free alternatives are the same in every run over one
zoo. A sweep keeps what each parameter vector answered, by the vector's hash, in one folder per
task and base checkpoint, so that only what is new is scored. Every run adds a file of its own to
it, so that runs side by side do not disturb each other.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.artefacts import PARTIAL, read_tensors, sha256_of, write_tensors
from paramdiff.evaluation.behaviour import Answers, Behaviour
from paramdiff.recipe import Recipe
from paramdiff.zoo.zoo import BASE_FILE

DIGEST_BYTES = 16
_PARTS = ("validation", "test", "wrong", "labels")


def answers_folder(folder: Path, recipe: Recipe, zoo: Path, device: str, sample: Answers) -> Path:
    """The folder of everything that determines what a vector answers.

    Data that changed where they lie show in what a network of the zoo answers.

    Args:
        folder: of all such folders.
        recipe: whose task is asked, about which tensors.
        zoo: holds the complete checkpoint that vectors are laid into.
        device: which kind computes.
        sample: what a network of the zoo answers now.

    Returns:
        Its path.
    """
    known = [
        recipe.model_dump(mode="json", include={"task": True, "parameters": {"select"}}),
        sha256_of(zoo / BASE_FILE),
        device,
    ]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for part in _PARTS:
        values = getattr(sample, part)
        digest.update(b"" if values is None else _digest(values))
    return folder / digest.hexdigest()[:DIGEST_BYTES]


class RememberedAnswers:
    """Asks a behaviour for what no vector before has answered.

    Args:
        behaviour: that answers.
        folder: of the answers so far; need not exist.
    """

    def __init__(self, behaviour: Behaviour, folder: Path) -> None:
        self._behaviour, self._folder = behaviour, folder
        self._rows: dict[bytes, int] = {}
        self._kept: dict[str, list[Tensor]] = {part: [] for part in _PARTS}
        for file in sorted(folder.glob("*.safetensors")):
            if not file.name.startswith(PARTIAL):
                stored = read_tensors(file)
                for row, digest in enumerate(stored.pop("digests")):
                    self._keep(bytes(digest.tolist()), {p: v[row] for p, v in stored.items()})
        self._num_stored = len(self._rows)

    def behaviour(self) -> Behaviour:
        """The behaviour, with its answers remembered."""
        return replace(self._behaviour, answers=self.answers)

    def answers(self, vectors: Tensor) -> Answers:
        """What the networks ``[M, P]`` do, see ``Behaviour``."""
        digests = [_digest(vector) for vector in vectors]
        first = {digest: row for row, digest in reversed(list(enumerate(digests)))}
        new = sorted(row for digest, row in first.items() if digest not in self._rows)
        if new:
            found = self._behaviour.answers(vectors if len(new) == len(vectors) else vectors[new])
            given = {part: getattr(found, part) for part in _PARTS}
            for number, row in enumerate(new):
                values = {p: _compact(v[number]) for p, v in given.items() if v is not None}
                self._keep(digests[row], values)
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
        """Keep the new answers for other runs."""
        new = list(self._rows)[self._num_stored :]
        if not new:
            return
        digests = torch.tensor([list(digest) for digest in new], dtype=torch.uint8)
        parts = {
            part: torch.stack(kept[self._num_stored :])
            for part, kept in self._kept.items()
            if kept
        }
        name = hashlib.sha256(b"".join(new)).hexdigest()[:DIGEST_BYTES]
        write_tensors(self._folder / f"{name}.safetensors", {"digests": digests} | parts)

    def _keep(self, digest: bytes, answer: dict[str, Tensor]) -> None:
        if digest not in self._rows:  # two runs may have asked the same
            self._rows[digest] = len(self._rows)
            for part, values in answer.items():
                self._kept[part].append(values)


def _digest(vector: Tensor) -> bytes:
    raw = vector.cpu().contiguous().view(torch.uint8).numpy().data
    return hashlib.blake2b(raw, digest_size=DIGEST_BYTES).digest()


def _compact(values: Tensor) -> Tensor:
    """Class labels take two bytes each."""
    fits = values.dtype == torch.int64 and values.numel() and int(values.max()) < 2**15
    return values.to(torch.int16) if fits else values.clone()
