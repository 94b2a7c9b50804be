"""What is worth making of checkpoints: every method, on five zoos, for three uses.

    python -m benchmarks.methods --out DIR --cifar FILE.npz --seeds 0 1 2

The zoos: the quickstart's normalization layers of one run; the last normalization layers of a
ResNet-20 on the CIFAR-10 subset (FILE as for ``task.root``), one run; whole networks for digits of
independent runs, as they are and aligned; several runs of whole networks, unaligned; and a
classifier of sentences by the module of the standard library that they document, with a scoring
function. Each is made once, and compared as ``paramdiff compare`` does; a folder that is there is
not made again. The last line is one JSON object.
"""

import argparse
import inspect
import json
import pkgutil
import re
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.zoos import collected
from paramdiff.cli._console import progress_bars
from paramdiff.commands.compare import compare
from paramdiff.evaluation.evaluation_file import read_evaluation
from paramdiff.evaluation.ranking_schema import Answer
from paramdiff.evaluation.schema import EVALUATION_FILE, Evaluation
from paramdiff.methods.group_names import label_of
from paramdiff.permutation.align import align
from paramdiff.recipe.schema import load_recipe
from paramdiff.runs.alignment_stage import symmetries_of
from paramdiff.tasks.registry import build_task
from paramdiff.zoo.zoo import Zoo, write_zoo

MODULES = ("asyncio", "email", "unittest", "xml", "multiprocessing", "concurrent")
NUM_BUCKETS, WIDTH = 2048, 16
NUM_CHECKPOINTS, STEPS_PER_CHECKPOINT = 40, 15


# The classifier of sentences


@cache
def sentences() -> tuple[list[Tensor], Tensor]:
    """Hashed words of every line of documentation, and its module; in a fixed random order."""
    words, labels = [], []
    for label, name in enumerate(MODULES):
        package = import_module(name)
        found = [name, *(f"{name}.{one.name}" for one in pkgutil.iter_modules(package.__path__))]
        lines: set[str] = set()
        for module in found:
            if "__main__" in module or "win" in module:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                members = vars(import_module(module)).values()
            for member in members:
                lines |= {line.strip() for line in (inspect.getdoc(member) or "").splitlines()}
        for line in sorted(lines):
            tokens = [one for one in re.findall(r"[a-z]+", line.lower()) if one != name]
            if len(tokens) >= 4:
                hashes = [sum(map(ord, one)) * 31 + len(one) for one in tokens]
                words.append(torch.tensor(hashes) % NUM_BUCKETS)
                labels.append(label)
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(0))
    return [words[row] for row in order], torch.tensor(labels)[order]


def rows_of(split: str) -> range:
    """Half of the sentences train; a quarter each validates and tests."""
    num = len(sentences()[0])
    bounds = {"train": (0, num // 2), "validation": (num // 2, 3 * num // 4)}
    return range(*bounds.get(split, (3 * num // 4, num)))


def network() -> nn.Module:
    """A bag of embedded words and one hidden layer."""
    return nn.ModuleList(
        [nn.EmbeddingBag(NUM_BUCKETS, WIDTH), nn.Linear(WIDTH, 32), nn.Linear(32, len(MODULES))]
    )


def logits(model: nn.Module, rows: range | Tensor) -> Tensor:
    """Classify sentences."""
    bags, (embed, hidden, last) = [sentences()[0][int(row)] for row in rows], model.children()
    starts = torch.tensor([0, *map(len, bags)][:-1]).cumsum(0)
    return last(hidden(embed(torch.cat(bags), starts)).relu())


def score(state_dict: dict[str, Tensor], split: str) -> float:
    """Accuracy on a split."""
    model = network()
    model.load_state_dict(state_dict)
    rows = rows_of(split)
    with torch.no_grad():
        found = logits(model, rows).argmax(1)
    return float((found == sentences()[1][rows.start : rows.stop]).float().mean())


def train_sentences(folder: Path, seed: int) -> Path:
    """Train a classifier and keep checkpoints of the second half of its training."""
    if folder.is_dir():
        return folder
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    rows, labels = rows_of("train"), sentences()[1]
    folder.mkdir(parents=True)
    for step in range(2 * NUM_CHECKPOINTS * STEPS_PER_CHECKPOINT):
        batch = torch.randint(len(rows), (64,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits(model, batch), labels[batch]).backward()
        optimizer.step()
        number = (step + 1) // STEPS_PER_CHECKPOINT - 1
        if (step + 1) % STEPS_PER_CHECKPOINT == 0 and number >= NUM_CHECKPOINTS:
            torch.save(model.state_dict(), folder / f"step{step + 1}.pt")
    return folder


# The zoos


def of_recipe(name: str, overrides: list[str]) -> Callable[[Path, int], tuple[Path, dict]]:
    """Return a function that collects a recipe's zoo and names its task."""

    def make(folder: Path, seed: int) -> tuple[Path, dict]:
        recipe = load_recipe(name, [*overrides, f"seed={seed}"])
        assert recipe.task is not None
        collected(recipe, build_task(recipe.task), folder)
        return folder / "zoo", {"task": recipe.task}

    return make


def aligned_digits(folder: Path, seed: int) -> tuple[Path, dict]:
    """Align the zoo of independent runs, which lies beside."""
    source, options = of_recipe("beyond/digits", [])(folder.with_name(f"digits-{seed}"), seed)
    out = folder / "zoo"
    if not out.is_dir():
        zoo, task = Zoo.load(source), build_task(options["task"])
        found = align(zoo.originals, zoo.held_out, symmetries_of(task, zoo.layout), seed=seed)
        entries = [one.model_dump(exclude={"file", "sha256"}) for one in zoo.index.checkpoints]
        kept = iter(found.originals), iter(found.held_out)
        vectors = (next(kept[one.held_out]) for one in zoo.index.checkpoints)
        write_zoo(out, vectors, entries, zoo.layout, zoo.base, zoo.index.hold_out)
    return out, options


def text(folder: Path, seed: int) -> tuple[Path, dict]:
    """Train the classifier of sentences."""
    return train_sentences(folder / "checkpoints", seed), {"score_fn": f"{__name__}:score"}


def zoos(cifar: Path | None) -> dict[str, Callable[[Path, int], tuple[Path, dict]]]:
    """Name to a function that makes checkpoints and says what scores them."""
    found = {
        "quickstart": of_recipe("quickstart", []),
        "digits": of_recipe("beyond/digits", []),
        "aligned": aligned_digits,
        "runs": of_recipe("beyond/digits_runs", []),
        "text": text,
    }
    if cifar is not None:
        found["resnet20"] = of_recipe("small/cifar10_resnet20", [f"task.root={cifar}"])
    return found


def describe(answer: Answer | None, evaluation: Evaluation) -> str:
    """Put an answer into a cell."""
    if answer is None:
        return "-"
    score_info = evaluation.score_info
    level = score_info.text(evaluation.groups[answer.winner].score.mean)
    words = f"{label_of(answer.winner)} ({answer.winner}), {level}"
    if answer.ensembles is not None:
        pair = answer.ensembles
        low, high = (f"{100 * bound:+.2f}" for bound in pair.accuracy_ci95)
        words += f"; {100 * pair.accuracy:+.2f} [{low}, {high}] points"
        if pair.nll_calibrated is not None and pair.nll_calibrated_ci95 is not None:
            low, high = (f"{bound:+.4f}" for bound in pair.nll_calibrated_ci95)
            words += f", {pair.nll_calibrated:+.4f} [{low}, {high}] nats"
    elif answer.difference is not None:
        words += f", {score_info.difference(answer.difference)}"
        if answer.ci95 is not None:
            words += " [{}, {}]".format(*map(score_info.difference, answer.ci95))
    return f"{words}: {answer.outcome}"


def main() -> None:
    """Make the zoos, compare, and print the winners."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--zoos", nargs="+")
    parser.add_argument("--collect-only", action="store_true")
    options = parser.parse_args()
    makers = zoos(options.cifar)
    table = Table("zoo", "seed", "reference", "one network", "together", "many", title="Methods")
    found = {}
    for name in options.zoos or makers:
        for seed in options.seeds:
            folder = options.out / f"{name}-{seed}"
            source, scoring = makers[name](folder, seed)
            if options.collect_only:
                continue
            out = folder / "compared"
            if not (out / EVALUATION_FILE).is_file():
                with progress_bars() as progress:
                    compare(source, out, seed=seed, device="cpu", progress=progress, **scoring)
            evaluation = read_evaluation(out / EVALUATION_FILE)
            ranking = evaluation.ranking
            assert ranking is not None
            reference = evaluation.groups[ranking.single.reference].score.mean
            cells = [
                describe(answer, evaluation)
                for answer in (ranking.single, ranking.ensemble, ranking.diverse)
            ]
            level = evaluation.score_info.text(reference)
            table.add_row(name, str(seed), level, *cells)
            found[f"{name}/{seed}"] = {
                "reference": reference,
                "headline": evaluation.verdict.headline,
                "single": cells[0],
                "ensemble": cells[1],
                "diverse": cells[2],
                "seconds": evaluation.cost["evaluation"].seconds,
            }
    Console(width=220).print(table)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
