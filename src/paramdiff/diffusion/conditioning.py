"""Conditions: what is known of each checkpoint, as numbers that a denoiser reads.

A number is standardized over the zoo and comes with a 1 that says it is given; a label is one-hot.
What is not given is all zeros, so that one denoiser learns every combination: with none of them
given it is the unconditional one of classifier-free guidance (Ho and Salimans 2022).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, TypeAdapter
from torch import Tensor

from paramdiff.diffusion.diffusion_settings import Value
from paramdiff.errors import UserError, suggestion
from paramdiff.settings import Settings


class NumberCondition(Settings):
    """A quantity, its moments over the zoo, and the range that was seen there."""

    kind: Literal["number"] = "number"
    name: str
    mean: float
    std: float = Field(gt=0)
    low: float
    high: float

    @property
    def size(self) -> int:
        """Number of values that encode it."""
        return 2

    @property
    def words(self) -> str:
        """Values in the zoo."""
        return f"{self.low:.4g} to {self.high:.4g}"

    def encode(self, value: Value) -> list[float]:
        """A value to what the denoiser reads; a ``UserError`` if it is no number."""
        return [1.0, (self.parse(value) - self.mean) / self.std]

    def parse(self, value: Value) -> float:
        """A value as it was written to a number."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"condition {self.name}: {value!r} is not a number")
        return number


class LabelCondition(Settings):
    """One of several names."""

    kind: Literal["label"] = "label"
    name: str
    labels: tuple[str, ...] = Field(min_length=2)

    @property
    def size(self) -> int:
        """Number of values that encode it."""
        return len(self.labels)

    @property
    def words(self) -> str:
        """Values in the zoo."""
        return ", ".join(self.labels)

    def encode(self, value: Value) -> list[float]:
        """A label to what the denoiser reads; a ``UserError`` if the zoo has none such."""
        if str(value) not in self.labels:
            raise UserError(f"condition {self.name}: {str(value)!r} is not among {self.words}")
        return [float(str(value) == label) for label in self.labels]


Condition = Annotated[NumberCondition | LabelCondition, Field(discriminator="kind")]
_STORED = TypeAdapter(tuple[Condition, ...])


@dataclass(frozen=True)
class Conditions:
    """The conditions of a denoiser.

    Attributes:
        known: each condition; empty if it is unconditional.
    """

    known: tuple[NumberCondition | LabelCondition, ...] = ()

    @classmethod
    def fit(cls, values: Mapping[str, Sequence[Value]]) -> "Conditions":
        """Learn moments, ranges and labels.

        Args:
            values: condition to its value for each of the ``N`` checkpoints.

        Returns:
            The conditions, in the same order.

        Raises:
            UserError: all checkpoints have the same value.
        """
        return cls(tuple(_fitted(name, found) for name, found in values.items()))

    @classmethod
    def from_json(cls, content: Sequence[Mapping[str, Any]]) -> "Conditions":
        """Read what ``to_json`` gave; a ``ValueError`` if the content is something else."""
        return cls(_STORED.validate_python(content))

    def to_json(self) -> list[dict[str, Any]]:
        """Serialize for a denoiser's config."""
        return _STORED.dump_python(self.known, mode="json")

    @property
    def size(self) -> int:
        """``C``, how many numbers encode all of them."""
        return sum(one.size for one in self.known)

    @property
    def names(self) -> tuple[str, ...]:
        """Size of all encoded conditions together."""
        return tuple(one.name for one in self.known)

    def encode(self, wanted: Mapping[str, Value]) -> Tensor:
        """Encode requested conditions for the denoiser.

        Args:
            wanted: condition to value; what is left out is left open.

        Returns:
            ``[C]``.

        Raises:
            UserError: a condition is unknown, or a value is no number or no label of the zoo.
        """
        self._refuse_unknown(wanted)
        parts = [
            one.encode(wanted[one.name]) if one.name in wanted else [0.0] * one.size
            for one in self.known
        ]
        return torch.tensor([number for part in parts for number in part])

    def extrapolated(self, wanted: Mapping[str, Value]) -> list[str]:
        """One line for each value that lies outside of what the zoo has."""
        numbers = [one for one in self.known if isinstance(one, NumberCondition)]
        return [
            f"condition {one.name}={wanted[one.name]} extrapolates: the zoo has {one.words}"
            for one in numbers
            if one.name in wanted and not one.low <= one.parse(wanted[one.name]) <= one.high
        ]

    def left_out(self, encoded: Tensor, probability: float, generator: torch.Generator) -> Tensor:
        """Leave out, at random, all conditions of a checkpoint, or one of several by itself.

        Args:
            encoded: ``[B, C]``.
            probability: of each.
            generator: of the draws.

        Returns:
            ``[B, C]``, with zeros for what is left out.
        """
        num = len(self.known)
        kept = torch.rand(len(encoded), 1, generator=generator) >= probability
        if num > 1:
            kept = kept & (torch.rand(len(encoded), num, generator=generator) >= probability)
        sizes = torch.tensor([one.size for one in self.known])
        shares = kept.expand(-1, num).repeat_interleave(sizes, dim=1)
        return encoded * shares.to(encoded.device)

    def _refuse_unknown(self, wanted: Mapping[str, Value]) -> None:
        for name in wanted:
            if not self.known:
                raise UserError(
                    f"condition {name}: the pipeline was trained without conditions (see "
                    "diffusion.conditions of a recipe)"
                )
            if name not in self.names:
                raise UserError(f"condition {name!r}: unknown; {suggestion(name, self.names)}")


UNCONDITIONAL = Conditions()


def _fitted(name: str, values: Sequence[Value]) -> NumberCondition | LabelCondition:
    distinct = list(dict.fromkeys(values))
    if len(distinct) < 2:
        raise UserError(
            f"diffusion.conditions: {name}: the checkpoints must differ in it, but it is "
            f"{distinct[0]!r} for all of them"
        )
    if isinstance(values[0], str):
        return LabelCondition(name=name, labels=tuple(map(str, distinct)))
    numbers = torch.tensor([float(value) for value in values], dtype=torch.float64)
    return NumberCondition(
        name=name,
        mean=float(numbers.mean()),
        std=float(numbers.std()),
        low=float(numbers.min()),
        high=float(numbers.max()),
    )
