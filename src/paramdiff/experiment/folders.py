"""Evaluate two folders of checkpoints, whatever made them."""

import time
from pathlib import Path

from paramdiff.artefacts import written_aside
from paramdiff.engine import resolve_device
from paramdiff.errors import UserError
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.schema import Cost, Evaluation
from paramdiff.evaluation.settings import EvaluationSettings
from paramdiff.evaluation.subject import Subject
from paramdiff.experiment.assess import (
    build_behaviour,
    network_facts,
    untrained_vectors,
    write_evaluation,
)
from paramdiff.experiment.folder import peak_memory
from paramdiff.experiment.generated import read_generated
from paramdiff.experiment.stages import Report
from paramdiff.report.page import write_report
from paramdiff.tasks.catalogue import TaskSettings, build_task
from paramdiff.zoo.folder import import_checkpoints
from paramdiff.zoo.zoo import INDEX_FILE, Zoo


def evaluate_folders(
    originals: Path,
    generated: Path,
    task_name: str,
    out: Path,
    *,
    patterns: tuple[str, ...],
    base: Path | None = None,
    num_held_out: int,
    seed: int,
    recalibrate: bool,
    device: str,
    report: Report,
) -> Evaluation:
    """Judge the checkpoints of one folder against those of another.

    Args:
        originals: a zoo, or a folder of checkpoints.
        generated: a folder of checkpoints; tensors beyond the compared ones are ignored.
        task_name: whose network the checkpoints belong to.
        out: a new folder for ``evaluation.json``, its arrays and ``report.html``.
        patterns: the tensors to compare, where ``originals`` is no zoo.
        base: a complete checkpoint for what the originals lack, where they are no zoo.
        num_held_out: originals of the tail to hold out, where ``originals`` is no zoo.
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
    task = build_task(TaskSettings(name=task_name))
    if not generated.is_dir():
        raise UserError(f"{generated}: expected a folder of checkpoints, found none")
    target = resolve_device(device)
    with written_aside(out) as aside:
        aside.mkdir()
        zoo_folder = originals
        if not (originals / INDEX_FILE).is_file():
            zoo_folder = aside / "zoo"
            import_checkpoints(
                [str(originals)], zoo_folder, patterns, base=base, num_held_out=num_held_out
            )
        zoo = Zoo.load(zoo_folder)
        vectors = read_generated(generated, zoo.layout)
        subject = Subject.of(
            zoo,
            vectors,
            title=f"{generated.name} against {originals.name}",
            facts=network_facts(task, zoo.layout, zoo),
            untrained=untrained_vectors(task, zoo.layout),
        )
        evaluation, arrays = evaluate(
            subject,
            build_behaviour(task, zoo, target, recalibrate=recalibrate),
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
    return evaluation
