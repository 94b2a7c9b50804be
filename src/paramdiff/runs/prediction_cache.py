"""Predictions that were given before: the runs of a sweep share most of what they compare with.

Originals, averages, Gaussians and the other baselines are the same in every run over one
zoo. A sweep keeps what each parameter vector answered, by the vector's hash, in one folder per
task and base checkpoint, so that only what is new is scored. Every run adds a file of its own to
it, so that runs side by side do not disturb each other.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from paramdiff.evaluation.predictor import Predictions, Predictor, ValidationPredictions
from paramdiff.recipe import Recipe
from paramdiff.storage import PARTIAL, read_tensors, sha256_of, write_tensors
from paramdiff.zoo.zoo import BASE_FILE

DIGEST_BYTES = 16

Found = TypeVar("Found", Predictions, ValidationPredictions)


def answers_folder(
    folder: Path,
    recipe: Recipe,
    zoo: Path,
    device: str,
    sample: Predictions,
    reestimated: ValidationPredictions | None = None,
) -> Path:
    """The folder of everything that determines what a vector answers.

    Data that changed where they lie show in what a network of the zoo answers; training data in
    what it answers with BatchNorm statistics of these.

    Args:
        folder: of all such folders.
        recipe: whose task is asked, about which tensors.
        zoo: holds the complete checkpoint that vectors are laid into.
        device: which kind computes.
        sample: what a network of the zoo answers now.
        reestimated: what it answers after re-estimation, where that changes anything.

    Returns:
        Its path.
    """
    known = [
        recipe.model_dump(mode="json", include={"task": True, "parameters": {"select"}}),
        sha256_of(zoo / BASE_FILE),
        device,
    ]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for found in (sample, reestimated):
        for part in () if found is None else fields(found):
            values = getattr(found, part.name)
            digest.update(b"" if values is None else _digest(values))
    return folder / digest.hexdigest()[:DIGEST_BYTES]


class RememberedAnswers:
    """Asks a predictor for what no vector before has answered.

    Args:
        predictor: that answers.
        folder: of the answers so far; need not exist. What is answered on validation examples
            alone, and with re-estimated BatchNorm statistics, lies in folders of its own.
    """

    def __init__(self, predictor: Predictor, folder: Path) -> None:
        self._behavior = predictor
        self._answers: _Memory[Predictions] = _Memory(Predictions, predictor.predict, folder)
        alone = folder / "validated"
        self._validated: _Memory[ValidationPredictions] = _Memory(
            ValidationPredictions, predictor.predict_validation, alone
        )
        again = predictor.reestimated
        self._again = None if again is None else RememberedAnswers(again, folder / "reestimated")

    def predictor(self) -> Predictor:
        """The predictor, with its answers remembered."""
        return replace(
            self._behavior,
            predict=self.predict,
            predict_validation=self.predict_validation,
            reestimated=None if self._again is None else self._again.predictor(),
        )

    def predict(self, vectors: Tensor) -> Predictions:
        """What the networks ``[M, P]`` do, see ``Predictor``."""
        found = self._answers.of(vectors)
        labels = found.labels
        return found if labels is None else replace(found, labels=labels.long())

    def predict_validation(self, vectors: Tensor) -> ValidationPredictions:
        """What they do on the validation split, see ``Predictor``."""
        return self._validated.of(vectors)

    def write(self) -> None:
        """Keep the new answers for other runs."""
        self._answers.write()
        self._validated.write()
        if self._again is not None:
            self._again.write()


class _Memory(Generic[Found]):
    """What vectors answered to one question.

    Args:
        kind: of answers; its fields are tensors with a row per vector, or None.
        ask: vectors ``[M, P]`` to answers.
        folder: of the answers so far; need not exist.
    """

    def __init__(self, kind: type[Found], ask: Callable[[Tensor], Found], folder: Path) -> None:
        self._kind: type[Found] = kind
        self._ask: Callable[[Tensor], Found] = ask
        self._folder = folder
        self._parts = tuple(part.name for part in fields(kind))
        self._rows: dict[bytes, int] = {}
        self._kept: dict[str, list[Tensor]] = {part: [] for part in self._parts}
        for file in sorted(folder.glob("*.safetensors")):
            if not file.name.startswith(PARTIAL):
                stored = read_tensors(file)
                for row, digest in enumerate(stored.pop("digests")):
                    self._keep(bytes(digest.tolist()), {p: v[row] for p, v in stored.items()})
        self._num_stored = len(self._rows)

    def of(self, vectors: Tensor) -> Found:
        """The answers of vectors ``[M, P]``."""
        digests = [_digest(vector) for vector in vectors]
        first = {digest: row for row, digest in reversed(list(enumerate(digests)))}
        new = sorted(row for digest, row in first.items() if digest not in self._rows)
        if new:
            found = self._ask(vectors if len(new) == len(vectors) else vectors[new])
            given = {part: getattr(found, part) for part in self._parts}
            for number, row in enumerate(new):
                values = {p: _compact(v[number]) for p, v in given.items() if v is not None}
                self._keep(digests[row], values)
        rows = [self._rows[digest] for digest in digests]
        parts: dict[str, Any] = {
            part: torch.stack([kept[row] for row in rows]) if kept else None
            for part, kept in self._kept.items()
        }
        return self._kind(**parts)

    def write(self) -> None:
        """Add a file with the new answers to the folder."""
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
