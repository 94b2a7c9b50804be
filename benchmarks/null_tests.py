"""How often tests and intervals accuse who did nothing: simulations in which nothing is true.

    python -m benchmarks.null_tests

Data-copying test: originals, held-out and "generated" networks are draws of one distribution of
training runs, so nothing is copied, and ``Z_U`` should be standard normal: a standard deviation of
1 within 10 %, below -3 in at most 0.5 %. Held-out runs have many checkpoints each, as real ones
do. Beside it stands what the same runs give if every checkpoint counts.

Best of N: networks that guess. Whoever is best on validation data is worth 50 % on test data, and
the 95 % interval should say so. The last line is one JSON object.
"""

import argparse
import json
from dataclasses import replace

import torch
from torch import Tensor

from paramdiff.evaluation.best_of_n import best_of_n
from paramdiff.evaluation.bootstrap import Bootstrap
from paramdiff.evaluation.metrics.base import GroupMeasurements, GroupMetrics
from paramdiff.evaluation.metrics.memorization import data_copying
from paramdiff.evaluation.predictor import Predictions
from paramdiff.evaluation.reference_set import ReferenceSet
from paramdiff.parameters.layout import ParameterLayout

SIZE, CHECKPOINTS = 200, 30
"""Values of a network, and checkpoints of a run."""
NUM_RUNS = {"few": 10, "many": 50}
NUM_GENERATED = 50
NUM_EXAMPLES, NUM_GUESSERS = 200, 40
LAYOUT = ParameterLayout.of({"weight": torch.zeros(SIZE)}, ["weight"])


def runs(num: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Checkpoints ``[num x CHECKPOINTS, SIZE]`` of training runs, and the run of each.

    A run is a walk about a center of its own; some runs lie farther out than others.
    """
    centres = torch.randn(num, 1, SIZE, generator=generator)
    centres *= 1 + 0.1 * torch.randn(num, 1, 1, generator=generator)
    steps = 0.3 * torch.randn(num, CHECKPOINTS, SIZE, generator=generator) / CHECKPOINTS**0.5
    walks = (centres + steps.cumsum(1)).flatten(0, 1)
    return walks, torch.arange(num).repeat_interleave(CHECKPOINTS)


def one_each(num: int, generator: torch.Generator) -> Tensor:
    """Independent networks ``[num, SIZE]``: of as many runs, one checkpoint each."""
    walks, _ = runs(num, generator)
    picks = torch.randint(CHECKPOINTS, (num,), generator=generator)
    return walks.view(num, CHECKPOINTS, SIZE)[torch.arange(num), picks]


def copying_tests(
    num_original_runs: int, num_held_out_runs: int, repetitions: int, seed: int
) -> dict[str, float]:
    """``Z_U`` in parameters of networks that copy nothing.

    Args:
        num_original_runs: each with ``CHECKPOINTS`` checkpoints.
        num_held_out_runs: the same of held-out ones.
        repetitions: of the whole.
        seed: of everything.

    Returns:
        How many were tested, mean and standard deviation of ``Z_U``, the shares below -3 and above
        3, and the same if checkpoints counted; without the latter where nothing was tested.
    """
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, list[float]] = {"by run": [], "by checkpoint": []}
    for repetition in range(repetitions):
        originals, original_runs = runs(num_original_runs, generator)
        held_out, held_out_runs = runs(num_held_out_runs, generator)
        groups = {"original": originals, "held_out": held_out}
        groups["generated"] = one_each(NUM_GENERATED, generator)
        references = ReferenceSet(originals, LAYOUT)
        alike = torch.ones(1, 1, dtype=torch.bool)
        scored = {
            name: GroupMeasurements(
                references.measure(
                    vectors, torch.arange(len(vectors)) if name == "original" else None
                ),
                Predictions(alike.expand(len(vectors), 1), alike.expand(len(vectors), 1), None),
                torch.arange(len(vectors)) if name == "original" else None,
            )
            for name, vectors in groups.items()
        }
        by_run = GroupMetrics(
            scored,
            Bootstrap.over(1, seed=repetition, num_draws=2),
            runs=original_runs,
            held_out_runs=num_original_runs + held_out_runs,
        )
        every = num_original_runs + torch.arange(len(held_out))
        by_checkpoint = replace(by_run, held_out_runs=every)
        for way, measured in (("by run", by_run), ("by checkpoint", by_checkpoint)):
            tested = data_copying(measured, "generated")
            if tested is not None and tested.parameters is not None:
                found[way].append(tested.parameters)
    return {
        f"{name}, {way}": value
        for way, values in found.items()
        for name, value in _summary(torch.tensor(values, dtype=torch.float64)).items()
    }


def _summary(values: Tensor) -> dict[str, float]:
    if len(values) < 2:
        return {"tested": float(len(values))}
    return {
        "tested": float(len(values)),
        "mean": float(values.mean()),
        "standard deviation": float(values.std()),
        "below -3": float((values < -3).double().mean()),
        "above 3": float((values > 3).double().mean()),
    }


def guesses(repetitions: int, seed: int) -> dict[str, float]:
    """The best of many networks that guess.

    Args:
        repetitions: of the whole.
        seed: of everything.

    Returns:
        Mean test score of the chosen, mean validation score it was chosen by, and the share of
        95 % intervals that hold 0.5.
    """
    generator = torch.Generator().manual_seed(seed)
    nowhere = torch.zeros(1, 2)
    layout = ParameterLayout.of({"weight": torch.zeros(2)}, ["weight"])
    parameters = ReferenceSet(nowhere, layout).measure(nowhere, None)
    found = []
    for repetition in range(repetitions):
        validation, test = (
            torch.rand(NUM_GUESSERS, NUM_EXAMPLES, generator=generator) < 0.5 for _ in range(2)
        )
        scored = {"generated": GroupMeasurements(parameters, Predictions(validation, test, ~test))}
        measured = GroupMetrics(scored, Bootstrap.over(NUM_EXAMPLES, seed=repetition))
        best = best_of_n(measured, "generated", NUM_GUESSERS)
        covers = best.ci95[0] <= 0.5 <= best.ci95[1]
        found.append((best.test_score, best.validation_score, float(covers)))
    test_score, validation_score, covered = torch.tensor(found, dtype=torch.float64).mean(0)
    return {
        "test": float(test_score),
        "validation": float(validation_score),
        "covered": float(covered),
    }


def main() -> None:
    """Run the simulations."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    for name, num in NUM_RUNS.items():
        what = f"Z_U, 4 original runs, {name} ({num}) held-out runs"
        results[what] = copying_tests(4, num, given.repetitions, given.seed)
    results["best of 40 that guess"] = guesses(given.repetitions, given.seed)
    for name, values in results.items():
        print(name)
        for what, value in values.items():
            print(f"  {what}: {value:.3f}")
    print(json.dumps({"repetitions": given.repetitions, **results}))


if __name__ == "__main__":
    main()
