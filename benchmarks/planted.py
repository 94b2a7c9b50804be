"""Generators with a known flaw, and whether the verdict finds it.

    python -m benchmarks.planted --out DIR --mnist FOLDER

On the quickstart's zoo of digits and on a zoo of MNIST networks (FOLDER as for ``task.root``),
three generators are planted whose verdict is known beforehand; it stands in ``CASES`` and is
checked against what the evaluation says. The last line is one JSON object.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.zoos import collected
from paramdiff.cli._console import progress_bars
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_file import write_evaluation
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.inputs import EvaluationInputs
from paramdiff.evaluation.outcome import Outcome, outcome
from paramdiff.evaluation.schema import Evaluation
from paramdiff.recipe.schema import load_recipe
from paramdiff.report.page import write_report
from paramdiff.runs.evaluation_stage import network_facts
from paramdiff.runs.predictors import build_predictor, untrained_vectors
from paramdiff.tasks.classification import ClassificationTask
from paramdiff.tasks.registry import build_task
from paramdiff.zoo.zoo import Zoo

NUM_GENERATED = 200
MNIST = [
    "task.name=mnist",
    "task.image_size=32",
    "task.network={name: cnn_medium}",
    "collection.pretraining={epochs: 2, batch_size: 128, lr: 3.0e-3}",
    "collection.fine_tuning={batch_size: 128, lr: 0.01, mode: train}",
    "collection.skip_steps=100",
    "parameters.select=['fc1.*', 'fc2.*']",
]
"""CNNMedium, pre-trained for two epochs; its two linear layers are fine-tuned and generated."""


@dataclass(frozen=True)
class Case:
    """A planted generator.

    Attributes:
        expected: the verdict, written down before it was run.
        generate: originals ``[N, P]`` and a generator to networks ``[M, P]``.
        is_right: whether an evaluation says what is expected.
    """

    expected: str
    generate: Callable[[Tensor, torch.Generator], Tensor]
    is_right: Callable[[Evaluation], bool]


def copies(originals: Tensor, generator: torch.Generator) -> Tensor:
    """Originals, in another order."""
    return originals[torch.randperm(len(originals), generator=generator)[:NUM_GENERATED]]


def whisper(originals: Tensor, generator: torch.Generator) -> Tensor:
    """The average, and noise of 2 % of each coordinate's spread."""
    return _gaussian(originals, 0.02, generator)


def gaussian(originals: Tensor, generator: torch.Generator) -> Tensor:
    """Independent draws with each coordinate's mean and spread."""
    return _gaussian(originals, 1.0, generator)


def _gaussian(originals: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    draw = torch.randn(NUM_GENERATED, originals.shape[1], generator=generator)
    return originals.mean(0) + scale * originals.std(0) * draw


def _outcome(evaluation: Evaluation, reference: str) -> Outcome:
    comparison = next(c for c in evaluation.comparisons if c.reference == reference)
    return outcome(comparison, evaluation.score_info)


def _shows_no_difference(evaluation: Evaluation, reference: str) -> bool:
    return _outcome(evaluation, reference) in ("equivalent", "undecided")


def _is_called_better(evaluation: Evaluation) -> bool:
    return evaluation.verdict.headline.startswith("Better")


CASES = {
    "copies": Case(
        "the headline says copies; no difference to the originals is shown",
        copies,
        lambda e: e.verdict.headline.startswith("Copies") and _shows_no_difference(e, "original"),
    ),
    "whisper": Case(
        "not better; no difference to the average of all is shown; collapse is warned of",
        whisper,
        lambda e: (
            not _is_called_better(e)
            and _shows_no_difference(e, "average@all")
            and any("collapse" in warning for warning in e.verdict.warnings)
        ),
    ),
    "gaussian": Case(
        "not better; no difference to the fitted Gaussian is shown; no warning of spread",
        gaussian,
        lambda e: (
            not _is_called_better(e)
            and _shows_no_difference(e, "gaussian@1.0")
            and not any("spread" in warning for warning in e.verdict.warnings)
        ),
    ),
}


def main() -> None:
    """Collect the zoos, judge every planted generator, print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of zoos and reports")
    parser.add_argument("--mnist", help="the folder that holds MNIST/raw; without it, digits only")
    arguments = parser.parse_args()
    recipes = {"digits": load_recipe("quickstart")}
    if arguments.mnist:
        recipes["mnist"] = load_recipe("quickstart", [*MNIST, f"task.root={arguments.mnist}"])
    table = Table("zoo", "planted", "headline", "as expected", title="Planted generators")
    results = {}
    for zoo_name, recipe in recipes.items():
        task = build_task(recipe.task)
        zoo = collected(recipe, task, arguments.out / zoo_name)
        for case_name, case in CASES.items():
            folder = arguments.out / f"{zoo_name}-{case_name}"
            evaluation = _judge(case, zoo, task, folder)
            is_right = case.is_right(evaluation)
            table.add_row(zoo_name, case_name, evaluation.verdict.headline, str(is_right))
            results[f"{zoo_name}/{case_name}"] = {
                "expected": case.expected,
                "headline": evaluation.verdict.headline,
                "sentences": evaluation.verdict.sentences,
                "warnings": evaluation.verdict.warnings,
                "is_right": is_right,
                "median_errors": round(
                    (1 - evaluation.groups["original"].score.median) * evaluation.num_test
                ),
            }
    Console(width=150).print(table)
    print(json.dumps(results))


def _judge(case: Case, zoo: Zoo, task: ClassificationTask, folder: Path) -> Evaluation:
    inputs = replace(
        EvaluationInputs.of(
            zoo,
            case.generate(zoo.originals, torch.Generator().manual_seed(0)),
            title=f"Planted: {folder.name}",
            facts=network_facts(task, zoo) | {"Expected": case.expected},
        ),
        untrained=untrained_vectors(task, zoo.layout),
    )
    with progress_bars() as progress:
        evaluation, arrays = evaluate(
            inputs,
            build_predictor(task, zoo, torch.device("cpu")),
            EvaluationSettings(),
            progress,
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_evaluation(folder, evaluation, arrays)
    write_report(folder)
    return evaluation


if __name__ == "__main__":
    main()
