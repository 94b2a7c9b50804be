"""Two-level percentile bootstrap over test examples and networks (Efron and Tibshirani 1993).

Both are samples: other test examples and other networks of the same kind would give other numbers.
Groups share their draws of examples, so that the difference between two groups is paired on them.
Networks of several generator seeds are drawn seed first, then within the seed.

Percentile intervals of few seeds that differ much are too short: at 95% they cover 79% for three
seeds and 89% for six where nothing else varies.

Draws are counts, and sums of counts are exact: where all networks of two groups predict alike,
every draw of their difference is 0, not a rounding error that would pass for a difference.

Where only the whole split has a score, it stands for the one example there is, which every draw
holds: networks alone are drawn.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NUM_DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Bootstrap:
    """Shared draws of test examples.

    Attributes:
        example_counts: ``[draws, E]``; how often each example was drawn.
        seed: of the draws of networks.
    """

    example_counts: Tensor
    seed: int

    @classmethod
    def over(cls, num_examples: int, *, seed: int, num_draws: int = NUM_DRAWS) -> "Bootstrap":
        """Draw the examples once, for all groups.

        Args:
            num_examples: ``E``.
            seed: of all draws.
            num_draws: of the bootstrap.

        Returns:
            The shared draws.
        """
        generator = torch.Generator().manual_seed(seed)
        return cls(_counts(num_draws, num_examples, generator), seed)

    def means(self, values: Tensor, stream: int = 0, seeds: Tensor | None = None) -> Tensor:
        """Resampled means of a group.

        Args:
            values: ``[M, E]``, such as indicators of correct predictions (bool).
            stream: distinguishes groups, so that their draws of networks are independent.
            seeds: ``[M]`` the generator seed of each network, where there are several.

        Returns:
            ``[draws]`` float64.
        """
        generator = torch.Generator().manual_seed((self.seed + 1) * 1_000_003 + stream)
        num_draws, num_examples = self.example_counts.shape
        if seeds is not None and len(seeds.unique()) > 1:
            networks = _counts_by_seed(num_draws, seeds, generator)
        else:
            networks = _counts(num_draws, len(values), generator)
        # counts are exact in single precision, other scores may be large
        precise = torch.float32 if values.dtype == torch.bool else torch.float64
        totals = networks.to(precise) @ values.to(precise)
        sums = (totals * self.example_counts).sum(1, dtype=torch.float64)
        return sums / (networks[0].sum(dtype=torch.float64) * num_examples)

    def of_examples(self, values: Tensor) -> Tensor:
        """Resampled means ``[draws]`` over the examples alone, of values ``[E]``."""
        return (self.example_counts * values).sum(1, dtype=torch.float64) / len(values)


def percentile_interval(draws: Tensor, level: float = LEVEL) -> tuple[float, float]:
    """The central interval of bootstrap draws ``[draws]``."""
    tail = (1 - level) / 2
    low, high = torch.quantile(draws.double(), torch.tensor([tail, 1 - tail], dtype=torch.double))
    return float(low), float(high)


def _counts(num_draws: int, size: int, generator: torch.Generator) -> Tensor:
    picks = torch.randint(size, (num_draws, size), generator=generator)
    return torch.zeros(num_draws, size).scatter_add_(1, picks, torch.ones(num_draws, size))


def _counts_by_seed(num_draws: int, seeds: Tensor, generator: torch.Generator) -> Tensor:
    """Counts ``[draws, M]``: as many seeds as there are, drawn anew, and networks within each.

    Every seed counts alike: the networks of a smaller one are counted several times.
    """
    members = [(seeds == seed).nonzero()[:, 0] for seed in seeds.unique()]
    common = math.lcm(*map(len, members))
    counts = torch.zeros(num_draws, len(seeds))
    for _ in members:
        pick = torch.randint(len(members), (num_draws, 1), generator=generator)
        for number, rows in enumerate(members):
            drawn = _counts(num_draws, len(rows), generator) * (common // len(rows))
            counts[:, rows] += (pick == number) * drawn
    return counts
