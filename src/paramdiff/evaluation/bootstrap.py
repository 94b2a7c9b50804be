"""Two-level percentile bootstrap over test examples and networks (Efron and Tibshirani 1993).

Both are samples: other test examples and other networks of the same kind would give other numbers.
Groups share their draws of examples, so that the difference between two groups is paired on them.
Networks that come in clusters, of several generator seeds or of several training runs, are drawn
cluster first, then within it: checkpoints of one run are no independent networks (Davison and
Hinkley 1997, section 3.8).

Percentile intervals of few clusters that differ much are too short: at 95% they cover 79% for
three and 89% for six where nothing else varies.

Draws are counts, and sums of counts are exact: where all networks of two groups predict alike,
every draw of their difference is 0, not a rounding error that would pass for a difference.

Where only the whole split has a score, it stands for the one example there is, which every draw
holds: networks alone are drawn.
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

    def of_others(self, num_examples: int) -> "Bootstrap":
        """Draws of other examples, with the same draws of networks."""
        other = Bootstrap.over(
            num_examples, seed=self.seed + 1, num_draws=len(self.example_counts)
        )
        return Bootstrap(other.example_counts, self.seed)

    def means(self, values: Tensor, stream: int = 0, clusters: Tensor | None = None) -> Tensor:
        """Resampled means of a group.

        Args:
            values: ``[M, E]``, such as indicators of correct predictions (bool).
            stream: distinguishes groups, so that their draws of networks are independent.
            clusters: ``[M]`` the generator seed or training run of each network, where known.

        Returns:
            ``[draws]`` float64.
        """
        num_examples = self.example_counts.shape[1]
        networks = self.network_counts(len(values), stream, clusters)
        # counts are exact in single precision, other scores may be large
        precise = torch.float32 if values.dtype == torch.bool else torch.float64
        totals = networks.to(precise) @ values.to(precise)
        sums = (totals * self.example_counts).sum(1, dtype=torch.float64)
        return sums / (networks.sum(1, dtype=torch.float64) * num_examples)

    def best_on(
        self,
        validation: Tensor,
        test: Tensor,
        stream: int = 0,
        clusters: Tensor | None = None,
    ) -> Tensor:
        """Resampled test scores of the network that is best on validation data.

        Every draw repeats the choice: networks, validation and test examples are drawn anew, and
        of equally good networks one is drawn. So the draws hold the luck of the choice, too.

        Args:
            validation: ``[M, V]``.
            test: ``[M, E]``.
            stream: as that of ``means``.
            clusters: as those of ``means``.

        Returns:
            ``[draws]`` float64.
        """
        num_draws, generator = len(self.example_counts), self.generator(stream)
        generator.manual_seed(generator.initial_seed() + 1)  # other draws than those of networks
        drawn = _counts(num_draws, validation.shape[1], generator)
        absent = self.network_counts(len(validation), stream, clusters) == 0
        scores = _sums(drawn, validation).masked_fill_(absent, -torch.inf)
        is_best = scores == scores.max(1, keepdim=True).values
        chances = 1 + torch.rand(scores.shape, generator=generator)
        best = (is_best * chances).argmax(1, keepdim=True)
        return _sums(self.example_counts, test).gather(1, best)[:, 0].double() / test.shape[1]

    def network_counts(self, num: int, stream: int, clusters: Tensor | None = None) -> Tensor:
        """Count how often each network was drawn, ``[draws, M]``.

        Args:
            num: ``M``.
            stream: as that of ``means``.
            clusters: as those of ``means``. Draws of unequal clusters hold unequally many
                networks; a mean is that of all that were drawn.

        Returns:
            The counts.
        """
        generator, num_draws = self.generator(stream), len(self.example_counts)
        if clusters is not None and 1 < len(clusters.unique()) < num:
            return _counts_by_cluster(num_draws, clusters, generator)
        return _counts(num_draws, num, generator)

    def generator(self, stream: int) -> torch.Generator:
        """The source of the draws of one group."""
        return torch.Generator().manual_seed((self.seed + 1) * 1_000_003 + stream)

    def of_examples(self, values: Tensor) -> Tensor:
        """Resampled means ``[draws]`` over the examples alone, of values ``[E]``."""
        return (self.example_counts * values).sum(1, dtype=torch.float64) / len(values)


def percentile_interval(draws: Tensor, level: float = LEVEL) -> tuple[float, float]:
    """The central interval of bootstrap draws ``[draws]``."""
    tail = (1 - level) / 2
    low, high = torch.quantile(draws.double(), torch.tensor([tail, 1 - tail], dtype=torch.double))
    return float(low), float(high)


def _sums(example_counts: Tensor, values: Tensor) -> Tensor:
    """Sums ``[draws, M]`` of the drawn examples of each network of ``[M, E]``."""
    # counts are exact in single precision, other scores may be large
    precise = torch.float32 if values.dtype == torch.bool else torch.float64
    return example_counts.to(precise) @ values.to(precise).T


def _counts(num_draws: int, size: int, generator: torch.Generator) -> Tensor:
    picks = torch.randint(size, (num_draws, size), generator=generator)
    return torch.zeros(num_draws, size).scatter_add_(1, picks, torch.ones(num_draws, size))


def _counts_by_cluster(num_draws: int, clusters: Tensor, generator: torch.Generator) -> Tensor:
    """Counts ``[draws, M]``: as many clusters as there are, drawn anew, and networks of each."""
    members = _rows_of_each(clusters.unique(return_inverse=True)[1])
    picks = torch.randint(len(members), (num_draws, len(members)), generator=generator)
    counts = torch.zeros(num_draws, len(clusters))
    picked = _rows_of_each(picks.flatten(), len(members))  # one entry per time
    for rows, times in zip(members, picked, strict=True):
        drawn = torch.randint(len(rows), (len(times), len(rows)), generator=generator)
        draws = times[:, None] // len(members)
        places = (draws * len(clusters) + rows[drawn]).flatten()
        counts.view(-1).scatter_add_(0, places, torch.ones(len(places)))
    return counts


def _rows_of_each(numbers: Tensor, num: int = 0) -> tuple[Tensor, ...]:
    """The places of every number, from 0 on."""
    return numbers.argsort(stable=True).split(numbers.bincount(minlength=num).tolist())
