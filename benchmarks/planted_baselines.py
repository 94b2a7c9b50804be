"""How often the verdict errs where nothing is to be found.

    python -m benchmarks.planted_baselines --seeds 200 --choices 4000 --out FILE

*Planted baselines*: networks of a method that needs no generator (checkpoints with added noise of
0.1, MultiSWAG at scale 1.3; strengths between the fixed ones) are evaluated as "generated", on two
zoos of small perceptrons for scikit-learn's digits. The truth is that they are no better and no
worse than a baseline: "better" may be said of one in twenty at most.

*Choices*: twelve baselines have exactly the generated networks' distribution; the one that decides
is chosen as in an evaluation. "Worse" may be said of 2.5 % at most.

One JSON object a line; the last line sums up.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.evaluation.bootstrap import Bootstrap, percentile_interval
from paramdiff.evaluation.comparison_schema import Comparison
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.frontier import AXES, SIMILARITIES, frontier
from paramdiff.evaluation.group_schema import Group, Standing
from paramdiff.evaluation.inputs import EvaluationInputs
from paramdiff.evaluation.metrics.score import GroupScore
from paramdiff.evaluation.outcome import outcome
from paramdiff.evaluation.predictor import Predictor, classification
from paramdiff.evaluation.schema import Evaluation
from paramdiff.evaluation.score_info import ScoreInfo
from paramdiff.methods.draws import Draws
from paramdiff.methods.method_context import MethodContext
from paramdiff.methods.registry import METHODS
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.normalization import fit_normalization

NUM_TRAIN, NUM_VALIDATION = 500, 400
NUM_GENERATED = 60
PLANTS = (("noise", 0.1), ("multiswag", 1.3))


@dataclass(frozen=True)
class Perceptrons:
    """A zoo of perceptrons with one hidden layer, all evaluated together.

    Attributes:
        name: of the zoo.
        width: hidden units.
        num_runs: independent trainings.
        num_checkpoints: of each, one an epoch after the first fifteen.
    """

    name: str
    width: int
    num_runs: int
    num_checkpoints: int

    @property
    def layout(self) -> ParameterLayout:
        """Where each tensor lies in a vector."""
        state = self._network(0).state_dict()
        return ParameterLayout.of(state, list(state))

    def train(self) -> tuple[Tensor, Tensor]:
        """Train the zoo: raw vectors ``[N, P]`` and the run of each ``[N]``."""
        inputs, labels = _digits()
        vectors, runs = [], []
        for run in range(self.num_runs):
            network = self._network(run)
            optimizer = torch.optim.Adam(network.parameters(), 5e-3)
            generator = torch.Generator().manual_seed(run)
            for epoch in range(15 + self.num_checkpoints):
                for rows in torch.randperm(NUM_TRAIN, generator=generator).split(50):
                    loss = F.cross_entropy(network(inputs[rows]), labels[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                if epoch >= 15:
                    vectors.append(self.layout.flatten(network.state_dict()))
                    runs.append(run)
        return torch.stack(vectors), torch.tensor(runs)

    def predictor(self) -> Predictor:
        """Score raw vectors on validation and test digits."""
        inputs, labels = (part[NUM_TRAIN:] for part in _digits())

        def predicted(vectors: Tensor, inputs: Tensor = inputs) -> Tensor:
            found = []
            for rows in vectors.float().split(32):
                sizes = [self.width * 64, self.width, 10 * self.width, 10]
                first, shift, second, bias = rows.split(sizes, 1)
                hidden = inputs @ first.view(-1, self.width, 64).mT + shift[:, None]
                logits = hidden.relu() @ second.view(-1, 10, self.width).mT + bias[:, None]
                found.append(logits.argmax(2))
            return torch.cat(found)

        return classification(
            predicted,
            labels[:NUM_VALIDATION],
            labels[NUM_VALIDATION:],
            validation_labels=lambda vectors: predicted(vectors, inputs[:NUM_VALIDATION]),
        )

    def _network(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(64, self.width), nn.ReLU(), nn.Linear(self.width, 10))


ZOOS = (Perceptrons("4 runs x 15", 32, 4, 15), Perceptrons("8 runs x 8", 16, 8, 8))


def _digits() -> tuple[Tensor, Tensor]:
    """Images ``[1797, 64]`` and labels in a fixed random order."""
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    return torch.tensor(digits.data).float()[order] / 16, torch.tensor(digits.target)[order]


def planted(zoo: Perceptrons, num_seeds: int, first: int = 0) -> Iterator[dict]:
    """Evaluate planted baselines.

    Args:
        zoo: whose checkpoints they are made from.
        num_seeds: of each plant.
        first: seed.

    Yields:
        The verdict on each, as plain values.
    """
    originals, runs = zoo.train()
    normalization = fit_normalization(originals, zoo.layout, "tensor")
    predictor = zoo.predictor()
    for name, strength in PLANTS:
        for seed in range(first, first + num_seeds):
            context = MethodContext(
                originals=normalization.apply(originals),
                raw=originals,
                layout=zoo.layout,
                normalization=normalization,
                untrained=None,
                validation_score=torch.zeros(len(originals)),
                validate=lambda vectors: torch.zeros(len(vectors)),
                runs=runs,
            )
            draws = Draws(NUM_GENERATED, seed, "planted", name)
            made = METHODS[name].at(strength).sample(context, draws)
            inputs = EvaluationInputs(
                layout=zoo.layout,
                originals=originals,
                held_out=originals[:0],
                generated=normalization.invert(made.vectors),
                hold_out="none",
                runs=runs,
                title=f"planted {name} {strength}",
                facts={},
            )
            evaluation, _ = evaluate(inputs, predictor, EvaluationSettings(seed=seed))
            yield {"zoo": zoo.name, "planted": f"{name}@{strength}", "seed": seed} | _told(
                evaluation
            )


def _told(evaluation: Evaluation) -> dict:
    """The headline, and the outcome, reference and difference on each deciding axis."""
    to = {one.reference: one for one in evaluation.comparisons}
    level = evaluation.groups["original"].score.mean
    told: dict = {"headline": evaluation.verdict.headline}
    for name in SIMILARITIES:
        reference = evaluation.frontier[name].reference
        if reference is not None:
            found = to[reference]
            told[AXES[name].noun] = {
                "outcome": outcome(found, evaluation.score_info, level),
                "reference": reference,
                "difference": round(100 * found.difference, 3),
                "ci95": [round(100 * bound, 3) for bound in found.ci95],
                "excess": round(
                    (AXES[name].of_group(evaluation.groups[reference]) or 0)
                    - (evaluation.frontier[name].at or 0),
                    4,
                ),
            }
    return told


def choices(
    repetitions: int, num_baselines: int = 12, num_networks: int = 30, num_examples: int = 2000
) -> Counter[str]:
    """Count the outcomes where every baseline has the generated networks' distribution.

    Args:
        repetitions: simulated evaluations.
        num_baselines: that compete.
        num_networks: of each group.
        num_examples: of test data; validation data are half as many.

    Returns:
        How often each outcome was found.
    """
    found: Counter[str] = Counter()
    score = ScoreInfo(equivalence_margin=0.005)
    for seed in range(repetitions):
        generator = torch.Generator().manual_seed(seed)
        difficulty = 4 + 2 * torch.randn(num_examples * 3 // 2, generator=generator)
        on_test = torch.arange(len(difficulty)) < num_examples

        def networks(
            difficulty: Tensor = difficulty, generator: torch.Generator = generator
        ) -> Tensor:
            """Right predictions of networks that differ in skill and in what they find hard."""
            skill = 0.3 * torch.randn(num_networks, 1, generator=generator)
            taste = torch.randn(num_networks, len(difficulty), generator=generator)
            return difficulty + skill + taste > 0

        groups = {"generated": _group(networks()[:, ~on_test])}
        for number in range(num_baselines):
            groups[f"baseline@{number}"] = _group(networks()[:, ~on_test])
        chosen = frontier(groups, AXES["pairwise_similarity"]).reference
        assert chosen is not None
        own, other = networks()[:, on_test], networks()[:, on_test]
        bootstrap = Bootstrap.over(num_examples, seed=seed)
        draws = bootstrap.means(own, 0) - bootstrap.means(other, 1)
        difference = float(own.float().mean() - other.float().mean())
        comparison = Comparison(
            group="generated",
            reference=chosen,
            reference_dispersion=None,
            difference=difference,
            ci95=percentile_interval(draws),
        )
        found[outcome(comparison, score)] += 1
    return found


def _group(right: Tensor) -> Group:
    """A group with equal similarities, whose validation score is that of these predictions."""
    mean = float(right.float().mean())
    scores = {"mean": mean, "std": 0.0, "min": mean, "max": mean, "median": mean}
    return Group(
        n=len(right),
        score=GroupScore(**scores, ci95=(mean, mean)),
        max_similarity=None,
        max_similarity_with_source=None,
        pairwise_similarity=0.5,
        min_distance=None,
        nearest_ratio=None,
        copies=None,
        dispersion=1.0,
        dispersion_per_tensor=None,
        dispersion_in_components=None,
        effective_rank_ratio=None,
        z_u=None,
        data_used="none",
        validation=Standing(
            n=len(right),
            score=mean,
            max_similarity=None,
            pairwise_similarity=0.5,
            dispersion=1.0,
        ),
    )


def summary(told: list[dict]) -> dict[str, dict[str, int]]:
    """Count, for each zoo and plant, what the headlines and the two axes say."""
    counts: dict[str, Counter[str]] = {}
    for one in told:
        count = counts.setdefault(f"{one['zoo']}, {one['planted']}", Counter())
        count["n"] += 1
        count["headline better"] += one["headline"].startswith("Better")
        for name in SIMILARITIES:
            noun = AXES[name].noun
            if noun in one:
                count[f"{noun} {one[noun]['outcome']}"] += 1
    return {name: dict(count) for name, count in counts.items()}


def main() -> None:
    """Run both, write every verdict as it comes, and print the sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200, help="of each plant on each zoo")
    parser.add_argument("--choices", type=int, default=4000, help="simulated choices")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines")
    arguments = parser.parse_args()
    told = []
    with arguments.out.open("w") as out:
        for zoo in ZOOS:
            for one in planted(zoo, arguments.seeds):
                told.append(one)
                print(json.dumps(one), file=out, flush=True)
    sums: dict[str, object] = {"planted": summary(told)}
    if arguments.choices:
        sums["choices"] = dict(choices(arguments.choices))
    print(json.dumps(sums))


if __name__ == "__main__":
    main()
