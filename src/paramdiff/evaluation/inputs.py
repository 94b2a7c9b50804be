"""The inputs of an evaluation: originals, generated networks, and where they come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.memmap import row_blocks
from paramdiff.methods.data_use import DataBudget
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.permutation.symmetry import Symmetries
from paramdiff.zoo.zoo import HoldOutRule, Zoo


@dataclass(frozen=True)
class LatentSpace:
    """A codec's maps between raw vectors ``[M, P]`` and latents ``[M, L]``."""

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class EvaluationInputs:
    """The inputs of an evaluation; all vectors are raw.

    Attributes:
        layout: where each tensor lies in a vector.
        originals: ``[N, P]``, in the order in which they were saved.
        held_out: ``[H, P]``; ``H`` may be 0.
        generated: ``[M, P]``; None if there are none, and methods are ranked instead.
        hold_out: how the held-out checkpoints were chosen.
        runs: ``[N]`` number of the training run that each original comes from, as far as known.
        title: of the report.
        facts: of the run, label to value.
        held_out_runs: ``[H]``, the same of each held-out checkpoint; None if it is not known,
            and they count as one run.
        generator_seeds: ``[M]`` the generator seed of each generated network; None for one seed.
        latents: the run's codec; None if there is none.
        untrained: a seed to the vector ``[P]`` of an untrained network; None without a network.
        symmetries: permutation symmetries; None unless the whole network is generated and its
            structure is known.
        is_aligned: whether independent runs were aligned.
        steps: ``[N]`` training step of each original within its run; None if not known.
        base: ``[P]``, of the network from which all runs started; None if not known.
        data_budget: the training data that each generator learned from beside the originals; None
            if it used none.
        samples: name to ``[M, P]``, networks of other origin to evaluate beside all others.
        has_all_matrices: whether every matrix of the network is among the parameters.
        is_held_out_new: whether it is known that no held-out checkpoint trained the generator.
        notes: warnings that come before those of the evaluation.
        scratch: an existing folder for arrays that are larger than memory; without one they are
            held there all the same.
    """

    layout: ParameterLayout
    originals: Tensor
    held_out: Tensor
    generated: Tensor | None
    hold_out: HoldOutRule
    runs: Tensor
    title: str
    facts: dict[str, str]
    held_out_runs: Tensor | None = None
    generator_seeds: Tensor | None = None
    latents: LatentSpace | None = None
    untrained: Callable[[int], Tensor] | None = None
    symmetries: Symmetries | None = None
    is_aligned: bool = False
    steps: Tensor | None = None
    base: Tensor | None = None
    data_budget: DataBudget | None = None
    samples: Mapping[str, Tensor] = field(default_factory=dict)
    has_all_matrices: bool = False
    is_held_out_new: bool = False
    notes: tuple[str, ...] = ()
    scratch: Path | None = None

    @property
    def num_runs(self) -> int:
        """Return how many training runs the originals come from, as far as known."""
        return len(self.runs.unique())

    @cached_property
    def original_latents(self) -> Tensor:
        """The originals' latents ``[N, L]``, encoded once; needs a codec."""
        assert self.latents is not None
        return torch.cat([self.latents.encode(rows) for rows in row_blocks(self.originals)])

    @classmethod
    def of(
        cls,
        zoo: Zoo,
        generated: Tensor | None,
        *,
        title: str,
        facts: dict[str, str],
    ) -> "EvaluationInputs":
        """Combine a zoo and networks made from it; ``replace`` adds what else is known."""
        return cls(
            layout=zoo.layout,
            originals=zoo.originals,
            held_out=zoo.held_out,
            generated=generated,
            hold_out=zoo.index.hold_out,
            runs=zoo.runs,
            held_out_runs=zoo.held_out_runs,
            steps=zoo.steps,
            base=zoo.start,
            has_all_matrices=_has_all_matrices(zoo),
            title=title,
            facts=facts,
        )


def _has_all_matrices(zoo: Zoo) -> bool:
    matrices = [name for name, one in zoo.base.items() if one.ndim > 1 and one.is_floating_point()]
    return bool(matrices) and set(matrices) <= set(zoo.layout.names)
