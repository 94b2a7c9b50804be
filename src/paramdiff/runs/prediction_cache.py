"""A cache of predictions, keyed by the hash of the parameter vector.

The originals and most baselines are the same in every run over one zoo. A sweep keeps the
predictions of each parameter vector in one folder per task and base checkpoint, so that only new
vectors are scored. Every run adds a file of its own, so that concurrent runs do not interfere.
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
from paramdiff.recipe.schema import Recipe
from paramdiff.storage import PARTIAL, read_tensors, sha256_of, write_tensors
from paramdiff.zoo.zoo import BASE_FILE

DIGEST_BYTES = 16

Found = TypeVar("Found", Predictions, ValidationPredictions)


def cache_folder(
    folder: Path,
    recipe: Recipe,
    zoo: Path,
    device: str,
    sample: Predictions,
    reestimated: ValidationPredictions | None = None,
) -> Path:
    """Return the folder for all that determines the predictions of a vector.

    Data that were replaced change the predictions of a network of the zoo; replaced training data
    change its predictions with BatchNorm statistics re-estimated on them.

    Args:
        folder: parent of all such folders.
        recipe: with the task and the selected tensors.
        zoo: holds the complete base checkpoint of the vectors.
        device: type of the device.
        sample: predictions of a network of the zoo.
        reestimated: the same after re-estimation; None if there is none.

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


class PredictionCache:
    """Predictor that computes only predictions that are not cached.

    Args:
        predictor: computes the rest.
        folder: of the cached predictions; need not exist. Those on validation examples alone, and
            those with re-estimated BatchNorm statistics, lie in subfolders.
    """

    def __init__(self, predictor: Predictor, folder: Path) -> None:
        self._predictor = predictor
        self._predictions: _Cache[Predictions] = _Cache(Predictions, predictor.predict, folder)
        alone = folder / "validated"
        self._validation: _Cache[ValidationPredictions] = _Cache(
            ValidationPredictions, predictor.predict_validation, alone
        )
        again = predictor.reestimated
        self._again = None if again is None else PredictionCache(again, folder / "reestimated")

    def predictor(self) -> Predictor:
        """Return the predictor with its predictions cached."""
        return replace(
            self._predictor,
            predict=self.predict,
            predict_validation=self.predict_validation,
            reestimated=None if self._again is None else self._again.predictor(),
        )

    def predict(self, vectors: Tensor) -> Predictions:
        """Predict for vectors ``[M, P]``; see ``Predictor``."""
        found = self._predictions.of(vectors)
        labels = found.labels
        return found if labels is None else replace(found, labels=labels.long())

    def predict_validation(self, vectors: Tensor) -> ValidationPredictions:
        """Predict on the validation split; see ``Predictor``."""
        return self._validation.of(vectors)

    def write(self) -> None:
        """Write the new predictions for other runs."""
        self._predictions.write()
        self._validation.write()
        if self._again is not None:
            self._again.write()


class _Cache(Generic[Found]):
    """Cached predictions of one kind.

    Args:
        kind: dataclass whose fields are tensors with a row per vector, or None.
        predict: vectors ``[M, P]`` to predictions.
        folder: of the cached predictions; need not exist.
    """

    def __init__(
        self, kind: type[Found], predict: Callable[[Tensor], Found], folder: Path
    ) -> None:
        self._kind: type[Found] = kind
        self._predict: Callable[[Tensor], Found] = predict
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
        """Return the predictions of vectors ``[M, P]``."""
        digests = [_digest(vector) for vector in vectors]
        first = {digest: row for row, digest in reversed(list(enumerate(digests)))}
        new = sorted(row for digest, row in first.items() if digest not in self._rows)
        if new:
            found = self._predict(vectors if len(new) == len(vectors) else vectors[new])
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
        """Add a file with the new predictions to the folder."""
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

    def _keep(self, digest: bytes, prediction: dict[str, Tensor]) -> None:
        if digest not in self._rows:  # two runs may have computed the same
            self._rows[digest] = len(self._rows)
            for part, values in prediction.items():
                self._kept[part].append(values)


def _digest(vector: Tensor) -> bytes:
    raw = vector.cpu().contiguous().view(torch.uint8).numpy().data
    return hashlib.blake2b(raw, digest_size=DIGEST_BYTES).digest()


def _compact(values: Tensor) -> Tensor:
    """Store class labels in two bytes each if they fit."""
    fits = values.dtype == torch.int64 and values.numel() and int(values.max()) < 2**15
    return values.to(torch.int16) if fits else values.clone()
