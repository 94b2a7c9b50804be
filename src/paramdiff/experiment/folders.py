"""Evaluate two folders of checkpoints, whatever made them."""

import shutil
import time
from pathlib import Path

from torch import Tensor

from paramdiff.artefacts import write_json, written_aside
from paramdiff.checkpoints.sources import find_runs
from paramdiff.checkpoints.stored import StoredCheckpoint
from paramdiff.engine import resolve_device
from paramdiff.errors import UserError
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.schema import Cost, Evaluation
from paramdiff.evaluation.settings import EvaluationSettings
from paramdiff.evaluation.subject import Subject
from paramdiff.experiment.aligning import known_symmetries
from paramdiff.experiment.assess import (
    build_behaviour,
    network_facts,
    untrained_vectors,
    write_evaluation,
)
from paramdiff.experiment.folder import peak_memory
from paramdiff.experiment.generated import read_vectors
from paramdiff.experiment.stages import Report
from paramdiff.report.page import write_report
from paramdiff.tasks.catalogue import TaskSettings, build_task
from paramdiff.tasks.scoring_function import task_of_function
from paramdiff.user_code import import_function
from paramdiff.zoo.folder import import_checkpoints
from paramdiff.zoo.zoo import INDEX_FILE, Zoo


def evaluate_folders(
    originals: str,
    generated: str,
    task: TaskSettings | str,
    out: Path,
    *,
    patterns: tuple[str, ...],
    base: Path | None = None,
    entry: str | None = None,
    num_held_out: int,
    num_best: int = 0,
    seed: int,
    recalibrate: bool,
    device: str,
    report: Report,
) -> Evaluation:
    """Judge the checkpoints of one folder against those of another.

    Args:
        originals: a zoo, or checkpoints (see ``find_runs``).
        generated: checkpoints; tensors beyond the compared ones are ignored.
        task: whose network the checkpoints belong to, or ``module:function`` that scores a
            complete state dict (see ``task_of_function``).
        out: a new folder for ``evaluation.json``, its arrays and ``report.html``.
        patterns: the tensors to compare, where ``originals`` is no zoo.
        base: a complete checkpoint for what the originals lack, where they are no zoo.
        entry: the key of the state dict, where a file holds several.
        num_held_out: originals of the tail to hold out, where ``originals`` is no zoo.
        num_best: how many of the generated checkpoints to copy to ``best/``: those with the best
            validation scores.
        seed: of baselines and intervals.
        recalibrate: whether to score with BatchNorm statistics estimated anew, too.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        report: told the stage's name, steps done and steps in all.

    Returns:
        The evaluation.

    Raises:
        UserError: a folder or file is missing, unreadable or does not fit.
    """
    started = time.monotonic()
    if out.exists():
        raise UserError(f"--out {out}: expected a new folder, found an existing one")
    found = [stored for run in find_runs([generated]) for stored in run]
    if num_best > len(found):
        raise UserError(f"--keep-best: expected at most {len(found)}, found {num_best}")
    own = None if isinstance(task, TaskSettings) else import_function(task, "--score")
    built = build_task(task) if isinstance(task, TaskSettings) else None
    target = resolve_device(device)
    with written_aside(out) as aside:
        aside.mkdir()
        zoo_folder = Path(originals)
        if not (zoo_folder / INDEX_FILE).is_file():
            zoo_folder = aside / "zoo"
            import_checkpoints(
                [originals],
                zoo_folder,
                patterns,
                base=base,
                num_held_out=num_held_out,
                entry=entry,
            )
        zoo = Zoo.load(zoo_folder)
        vectors = read_vectors(found, zoo.layout, entry)
        if own is not None:
            built = task_of_function(str(task), own, zoo.base)
        assert built is not None
        subject = Subject.of(
            zoo,
            vectors,
            title=f"{Path(generated).name} against {Path(originals).name}",
            facts=network_facts(built, zoo.layout, zoo),
            untrained=untrained_vectors(built, zoo.layout) if own is None else None,
            symmetries=known_symmetries(built, zoo.layout),
        )
        behaviour = build_behaviour(built, zoo, target, recalibrate=recalibrate)
        evaluation, arrays = evaluate(
            subject,
            behaviour,
            EvaluationSettings(seed=seed, recalibrate_batchnorm=recalibrate),
            progress=lambda done, total: report("evaluating", done, total),
        )
        cost = Cost(
            seconds=round(time.monotonic() - started, 3), peak_memory_mb=round(peak_memory(), 1)
        )
        write_evaluation(
            aside, evaluation.model_copy(update={"cost": {"evaluation": cost}}), arrays
        )
        write_report(aside)
        if num_best:
            validation = behaviour.answers(vectors).validation.double().mean(1)
            _copy_best(aside / "best", found, validation, num_best)
    return evaluation


def _copy_best(
    folder: Path, checkpoints: list[StoredCheckpoint], validation: Tensor, num: int
) -> None:
    """Copy the checkpoints with the best validation scores, and write these beside them."""
    best = validation.argsort(descending=True, stable=True)[:num].tolist()
    folder.mkdir()
    for row in best:
        source = checkpoints[row].path
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, folder / source.name)
    scores = {checkpoints[row].path.name: float(validation[row]) for row in best}
    write_json(folder / "validation.json", scores)
