"""The two presets over several seeds, on the digits task, and the numbers that judge them.

    python -m benchmarks.presets --out DIR

For each training seed: the ``default`` preset; on the same zoo the ``paper`` preset (three
generator seeds, 40 networks of each by the published 1,000 DDPM steps); the ``default`` preset
with its spread lowered to the paper preset's dispersion, from as many seeds; and ``default`` with
five generator seeds, pooled. Interrupted, the same command goes on. The last line is one JSON
object.
"""

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from paramdiff.cli._console import progress_bars
from paramdiff.evaluation.comparison_schema import Comparison
from paramdiff.evaluation.schema import Evaluation
from paramdiff.recipe.schema import load_recipe
from paramdiff.runs.run import run

PAPER_SEEDS = [
    "generator_seeds=[100, 101, 102]",
    "generation.num_samples=40",
    "evaluation.num_trajectories=0",
]
PAPER = ["preset=paper", *PAPER_SEEDS]
POOLED = [
    "generator_seeds=[100, 101, 102, 103, 104]",
    "generation.num_samples=80",
    "evaluation.num_trajectories=0",
]


def main() -> None:
    """Run, then print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=3, help="how many training seeds")
    arguments = parser.parse_args()
    table = Table(title="Presets on scikit-learn's digits")
    for heading in ("run", "original %", "generated %", "minus original", "dispersion"):
        table.add_column(heading)
    for heading in (
        "pairwise (orig.)",
        "max. similarity",
        "equal spread",
        "minus that",
        "codec IoU",
    ):
        table.add_column(heading)
    results = {}
    for seed in range(arguments.seeds):
        for name, evaluation in _of_seed(arguments.out, seed).items():
            results[f"{name}, seed {seed}"] = _summary(evaluation)
            table.add_row(f"{name}, seed {seed}", *_cells(evaluation))
    Console(width=170).print(table)
    print(json.dumps(results))


def _of_seed(out: Path, seed: int) -> dict[str, Evaluation]:
    def result(name: str, overrides: list[str], reuse: Path | None = None) -> Evaluation:
        recipe = load_recipe("quickstart", [f"seed={seed}", *overrides])
        with progress_bars() as progress:
            return run(
                recipe, out / f"{name}-{seed}", device="cpu", reuse=reuse, progress=progress
            )

    default = result("default", [])
    paper = result("paper", PAPER, out / f"default-{seed}")
    wanted, found = paper.groups["generated"].dispersion, default.groups["generated"].dispersion
    assert wanted and found
    lowered = result(
        "lowered",
        [*PAPER_SEEDS, f"generation.temperature={wanted / found:.4f}"],
        out / f"default-{seed}",
    )
    pooled = result("pooled", POOLED, out / f"default-{seed}")
    return {
        "default": default,
        "paper": paper,
        "default, spread lowered": lowered,
        "default, five generators": pooled,
    }


def _decisive(evaluation: Evaluation) -> Comparison | None:
    """The comparison to the strongest baseline at matched dispersion."""
    reference = evaluation.frontier["dispersion"].reference
    return None if reference is None else _versus(evaluation, reference)


def _versus(evaluation: Evaluation, reference: str) -> Comparison:
    return next(c for c in evaluation.comparisons if c.reference == reference)


def _summary(evaluation: Evaluation) -> dict:
    decisive, generated = _decisive(evaluation), evaluation.groups["generated"]
    reconstruction = evaluation.reconstruction
    return {
        "n": generated.n,
        "original": evaluation.groups["original"].score.mean,
        "average": evaluation.groups["average@all"].score.mean,
        "generated": generated.score.mean,
        "generated_std": generated.score.std,
        "dispersion": generated.dispersion,
        "pairwise": generated.pairwise_similarity,
        "pairwise_original": evaluation.groups["original"].pairwise_similarity,
        "max_similarity": generated.max_similarity and generated.max_similarity.mean,
        "minus_original": _versus(evaluation, "original").model_dump(mode="json"),
        "minus_equal_spread": decisive and decisive.model_dump(mode="json"),
        "reconstruction": reconstruction and reconstruction.model_dump(mode="json"),
        "seconds": {stage: cost.seconds for stage, cost in evaluation.cost.items()},
    }


def _cells(evaluation: Evaluation) -> list[str]:
    original, generated = evaluation.groups["original"], evaluation.groups["generated"]
    decisive, reconstruction = _decisive(evaluation), evaluation.reconstruction
    return [
        f"{100 * original.score.mean:.2f}",
        f"{100 * generated.score.mean:.2f} ± {100 * generated.score.std:.2f}",
        _points(_versus(evaluation, "original")),
        f"{generated.dispersion:.2f}",
        f"{generated.pairwise_similarity:.3f} ({original.pairwise_similarity:.3f})",
        f"{generated.max_similarity.mean:.3f}" if generated.max_similarity else "-",
        decisive.reference if decisive else "none",
        _points(decisive) if decisive else "-",
        f"{reconstruction.similarity_with_source:.3f}" if reconstruction else "-",
    ]


def _points(comparison: Comparison) -> str:
    low, high = (100 * bound for bound in comparison.ci95)
    return f"{100 * comparison.difference:+.2f} [{low:+.2f}, {high:+.2f}]"


if __name__ == "__main__":
    main()
