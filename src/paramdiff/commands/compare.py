"""Evaluate two folders of checkpoints, whatever made them."""

import os
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from paramdiff.checkpoints.formats import StoredCheckpoint
from paramdiff.checkpoints.order import first_names
from paramdiff.checkpoints.sources import FoundCheckpoints, find_checkpoints, find_runs
from paramdiff.commands.original_scores import originals_in_words
from paramdiff.commands.task_choice import open_task
from paramdiff.device import resolve_device
from paramdiff.errors import UserError
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_file import write_evaluation
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.inputs import Subject
from paramdiff.evaluation.schema import Cost, Evaluation
from paramdiff.locking import refuse_existing, sole_maker
from paramdiff.methods.data_use import budget_of
from paramdiff.model_cards.card import data_on_card
from paramdiff.parallel import FanOut
from paramdiff.parameters.selection import select
from paramdiff.processes import refuse_several
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.report.page import write_report
from paramdiff.runs.aligned import known_symmetries
from paramdiff.runs.generated_folder import read_vectors
from paramdiff.runs.network_facts import network_facts
from paramdiff.runs.parallel_predictors import distributed
from paramdiff.runs.peak_memory import peak_memory
from paramdiff.runs.predictors import build_predictor, untrained_vectors
from paramdiff.runs.run_cards import add_scores
from paramdiff.storage import write_json, written_aside
from paramdiff.tasks.scoring_function import ScoringFunctions
from paramdiff.tasks.task_settings import TaskSettings
from paramdiff.zoo.import_checkpoints import import_checkpoints
from paramdiff.zoo.learned_from import (
    LearnedFrom,
    is_held_out_new,
    learned_from,
)
from paramdiff.zoo.zoo import INDEX_FILE, Zoo, read_index


def evaluate_folders(
    originals: str,
    generated: str,
    task: TaskSettings | ScoringFunctions,
    out: Path,
    *,
    patterns: tuple[str, ...],
    base: Path | None = None,
    entry: str | None = None,
    num_held_out: int | None = None,
    num_best: int = 0,
    seed: int,
    recalibrate: bool,
    device: str,
    fan_out: FanOut | None = None,
    progress: StageProgress,
    say: Callable[[str], None] = ignore_progress,
) -> Evaluation:
    """Judge the checkpoints of one folder against those of another.

    Args:
        originals: a zoo, or checkpoints (see ``find_runs``).
        generated: checkpoints; tensors beyond the compared ones are ignored.
        task: whose network the checkpoints belong to, or functions that score a complete state
            dict.
        out: a new folder for ``evaluation.json``, its arrays and ``report.html``.
        patterns: the tensors to compare, where ``originals`` is no zoo; none for all.
        base: a complete checkpoint for what the originals lack, where they are no zoo.
        entry: the key of the state dict, where a file holds several.
        num_held_out: how many originals to hold out, the last ones, where ``originals`` is no zoo.
            By default those that the generator held out, as far as what lies beside the generated
            checkpoints tells; else none.
        num_best: how many of the generated checkpoints to copy to ``best/``: those with the best
            validation scores.
        seed: of baselines and intervals.
        recalibrate: whether to score with BatchNorm statistics estimated anew, too.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        fan_out: workers that score networks side by side.
        progress: told the stage's name, steps done and steps in all.
        say: told what the originals score, before the long work.

    Returns:
        The evaluation.

    Raises:
        UserError: a folder or file is missing, unreadable or does not fit, or a choice is given
            that the zoo has made already.
    """
    started = time.monotonic()
    target = resolve_device(device)
    refuse_several(target, "compare")
    refuse_existing(out)
    judged = find_checkpoints([generated])
    found = judged.listed
    if num_best > len(found):
        raise UserError(f"--copy-best: expected at most {len(found)}, found {num_best}")
    passed_over = _passed_over(judged, "what is judged")
    if patterns and not (Path(originals) / INDEX_FILE).is_file():  # before anything long
        select(find_runs([originals])[0][0].read(entry)[0], patterns)
    task_of = open_task(task)
    known = learned_from(sorted({stored.path.absolute().parent for stored in found}))
    notes = [f"Generated checkpoints: {note}." for note in judged.notes]
    with sole_maker(out), written_aside(out) as aside:
        aside.mkdir()
        zoo_folder = Path(originals)
        replaced: set[str] = set()
        if (zoo_folder / INDEX_FILE).is_file():
            _refuse_what_a_zoo_has(patterns, base, num_held_out)
            is_new = is_held_out_new(read_index(zoo_folder), known)
        else:
            passed_over |= _passed_over(find_checkpoints([originals]), "the originals")
            zoo_folder = aside / "zoo"
            imported = import_checkpoints(
                [originals],
                zoo_folder,
                patterns or ("*",),
                base=base,
                num_held_out=num_held_out,
                state_dict_key=entry,
                known=known,
                compared=found,
            )
            is_new = imported.is_held_out_new
            replaced |= imported.replaced
            notes += [f"Originals: {note}." for note in imported.notes]
        zoo = Zoo.load(zoo_folder)
        vectors = read_vectors(found, zoo.layout, entry, rest=zoo.base, counters=replaced)
        built = task_of(zoo.base)
        used = data_on_card(Path(generated))
        told = "not known, no card beside it tells" if used is None else used.in_words
        subject = replace(
            Subject.of(
                zoo,
                vectors,
                title=f"{Path(generated).name} against {Path(originals).name}",
                facts=network_facts(built, zoo)
                | {
                    "Task data in what is judged": told,
                    "What the generator learned from": _told_of(known, is_new, zoo),
                }
                | passed_over
                | _completed(zoo, replaced, base),
            ),
            untrained=untrained_vectors(built, zoo.layout),
            symmetries=known_symmetries(built, zoo),
            data_budget=budget_of(used),
            is_held_out_new=is_new,
            scratch=aside,
        )
        predictor = build_predictor(built, zoo, target, recalibrate=recalibrate)
        for line in originals_in_words(built, predictor, zoo.originals):
            say(line)
        if fan_out is not None:
            predictor = distributed(predictor, built, zoo, target, fan_out)
        evaluation, arrays = evaluate(
            subject,
            predictor,
            EvaluationSettings(seed=seed, recalibrate_batchnorm=recalibrate),
            progress,
        )
        verdict = evaluation.verdict
        told_first = verdict.model_copy(update={"warnings": (*notes, *verdict.warnings)})
        evaluation = evaluation.model_copy(update={"verdict": told_first})
        cost = Cost(
            seconds=round(time.monotonic() - started, 3), peak_memory_mb=round(peak_memory(), 1)
        )
        write_evaluation(
            aside, evaluation.model_copy(update={"cost": {"evaluation": cost}}), arrays
        )
        write_report(aside)
        if num_best:
            _copy_best(aside / "best", found, arrays["validation/generated"], num_best)
    add_scores(Path(generated), evaluation)
    return evaluation


def _passed_over(found: FoundCheckpoints, where: str) -> dict[str, str]:
    return {f"{label} among {where}": value for label, value in found.facts.items()}


def _told_of(known: LearnedFrom | None, is_new: bool, zoo: Zoo) -> str:
    """What is known of the checkpoints that trained the generator."""
    if known is None:
        return "not known, nothing beside the generated checkpoints tells"
    told = f"{len(known.trained)} checkpoints; it held out {len(known.held_out)}"
    if not len(zoo.held_out):
        return told
    proof = "none of those held out here trained it" if is_new else "not compared with those here"
    return f"{told}; {proof}"


def _completed(zoo: Zoo, replaced: set[str], base: Path | None) -> dict[str, str]:
    """Tell where networks are scored with other values than their files hold."""
    # BatchNorm's own counter decides nothing
    names = [name for name in zoo.base if name in replaced and "num_batches_tracked" not in name]
    if not names:
        return {}
    first = zoo.index.checkpoints[0].source or "the first checkpoint"
    source = first if base is None else base.name
    told = f"{first_names(names)} of every network: those of {source}"
    if base is not None:
        told += ", so that the scores of the originals are not those of their files"
        warnings.warn(told, stacklevel=2)
    return {"Completed with": told}


def _refuse_what_a_zoo_has(
    patterns: tuple[str, ...], base: Path | None, num_held_out: int | None
) -> None:
    given = {"--select": patterns, "--base-checkpoint": base, "--num-held-out": num_held_out}
    for option, value in given.items():
        if value:
            raise UserError(
                f"{option}: expected for checkpoints, but --originals is a zoo, which has its own"
            )


def _copy_best(
    folder: Path, checkpoints: list[StoredCheckpoint], validation: Tensor, num: int
) -> None:
    """Copy the checkpoints with the best validation scores, and write these beside them.

    What lies in several folders lies so in the copy: names alone may be the same.
    """
    best = validation.argsort(descending=True, stable=True)[:num].tolist()
    paths = [stored.path.absolute() for stored in checkpoints]
    shared = Path(os.path.commonpath([path.parent for path in paths]))
    scores = {}
    for row in best:
        place = paths[row].relative_to(shared)
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if paths[row].is_dir() else shutil.copyfile
        copy(paths[row], folder / place)
        scores[place.as_posix()] = float(validation[row])
    write_json(folder / "validation.json", scores)
    known = learned_from(sorted({path.parent for path in paths}))
    if known is not None:
        for place in {(folder / name).parent for name in scores}:
            known.write(place)
