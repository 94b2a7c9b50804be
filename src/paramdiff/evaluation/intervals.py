"""Two-level percentile bootstrap over test examples and networks (Efron and Tibshirani 1993).

Both are samples: other test examples and other networks of the same kind would give other numbers.
Groups share their draws of examples, so that the difference between two groups is paired on them.
Networks of several generator seeds are drawn seed first, then within the seed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

NUM_DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Bootstrap:
    """Shared draws of test examples.

    Attributes:
        example_weights: ``[draws, E]``; how often each example was drawn, divided by ``E``.
        seed: of the draws of networks.
    """

    example_weights: Tensor
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
        return cls(_weights(num_draws, num_examples, generator), seed)

    def means(self, values: Tensor, stream: int = 0, seeds: Tensor | None = None) -> Tensor:
        """Resampled means of a group.

        Args:
            values: ``[M, E]``, such as indicators of correct predictions.
            stream: distinguishes groups, so that their draws of networks are independent.
            seeds: ``[M]`` the generator seed of each network, where there are several.

        Returns:
            ``[draws]``.
        """
        generator = torch.Generator().manual_seed((self.seed + 1) * 1_000_003 + stream)
        networks = _weights(len(self.example_weights), len(values), generator)
        if seeds is not None and len(seeds.unique()) > 1:
            networks = _weights_by_seed(len(self.example_weights), seeds, generator)
        return ((networks @ values.float()) * self.example_weights).sum(1)

    def of_examples(self, values: Tensor) -> Tensor:
        """Resampled means ``[draws]`` over the examples alone, of values ``[E]``."""
        return self.example_weights @ values.float()


def percentile_interval(draws: Tensor, level: float = LEVEL) -> tuple[float, float]:
    """The central interval of bootstrap draws ``[draws]``."""
    tail = (1 - level) / 2
    low, high = torch.quantile(draws.double(), torch.tensor([tail, 1 - tail], dtype=torch.double))
    return float(low), float(high)


def _weights(num_draws: int, size: int, generator: torch.Generator) -> Tensor:
    picks = torch.randint(size, (num_draws, size), generator=generator)
    counts = torch.zeros(num_draws, size).scatter_add_(1, picks, torch.ones(num_draws, size))
    return counts / size


def _weights_by_seed(num_draws: int, seeds: Tensor, generator: torch.Generator) -> Tensor:
    """Weights ``[draws, M]``: as many seeds as there are, drawn anew, and networks within each."""
    members = [(seeds == seed).nonzero()[:, 0] for seed in seeds.unique()]
    weights = torch.zeros(num_draws, len(seeds))
    for _ in members:
        pick = torch.randint(len(members), (num_draws, 1), generator=generator)
        for number, rows in enumerate(members):
            drawn = _weights(num_draws, len(rows), generator)
            weights[:, rows] += (pick == number) * drawn / len(members)
    return weights
