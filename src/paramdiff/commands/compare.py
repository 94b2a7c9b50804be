"""Compare two folders of checkpoints, whatever made them."""

import os
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from paramdiff.checkpoints.formats import StoredCheckpoint
from paramdiff.checkpoints.order import first_names
from paramdiff.checkpoints.recorded import recorded_base
from paramdiff.checkpoints.sources import FoundCheckpoints, find_checkpoints, find_runs
from paramdiff.commands.original_scores import describe_originals
from paramdiff.commands.run_artifacts import generated_in, originals_in
from paramdiff.commands.task_choice import ONE_OF, choose_task, open_task
from paramdiff.device import resolve_device
from paramdiff.errors import UserError
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_file import write_evaluation
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.inputs import EvaluationInputs
from paramdiff.evaluation.schema import Cost, Evaluation
from paramdiff.locking import refuse_existing, sole_maker
from paramdiff.methods.data_use import budget_of
from paramdiff.model_cards.card import data_on_card
from paramdiff.parallel import FanOut
from paramdiff.parameters.selection import select as select_names
from paramdiff.processes import refuse_several
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.report.page import write_report
from paramdiff.runs.alignment_stage import known_symmetries
from paramdiff.runs.generated_folder import read_vectors
from paramdiff.runs.network_facts import network_facts
from paramdiff.runs.parallel_predictors import distributed
from paramdiff.runs.peak_memory import peak_memory
from paramdiff.runs.predictors import build_predictor, untrained_vectors
from paramdiff.runs.run_cards import add_scores
from paramdiff.storage import StrPath, path_or_none, write_json, written_aside
from paramdiff.tasks.task_settings import TaskSettings
from paramdiff.zoo.import_checkpoints import import_checkpoints
from paramdiff.zoo.learned_from import (
    LearnedFrom,
    is_held_out_new,
    learned_from,
)
from paramdiff.zoo.zoo import INDEX_FILE, Zoo, read_index


def compare(
    generated: StrPath,
    originals: StrPath,
    out: StrPath,
    *,
    task: str | TaskSettings | None = None,
    data: str | None = None,
    network: str | None = None,
    image_size: int | None = None,
    score_fn: str | None = None,
    score_validation: str | None = None,
    standardize: bool = False,
    select: Sequence[str] = (),
    base_checkpoint: StrPath | None = None,
    state_dict_key: str | None = None,
    num_held_out: int | None = None,
    copy_best: int = 0,
    seed: int = 0,
    recalibrate_batchnorm: bool = False,
    device: str = "auto",
    fan_out: FanOut | None = None,
    log: Callable[[str], None] = ignore_progress,
    progress: StageProgress = ignore_progress,
) -> Evaluation:
    """Compare checkpoints with their originals, and with what these give without training.

    Args:
        generated: the checkpoints to judge: a folder, a glob, or a run's folder; tensors beyond
            the compared ones are ignored.
        originals: a zoo, a run's folder, or checkpoints (see ``find_runs``).
        out: a new folder for ``evaluation.json``, its arrays and ``report.html``.
        task: the name of the task whose network the checkpoints belong to, or
            ``module:function``; or its settings.
        data: the name or ``KIND:PATH`` of data instead, see ``choose_task``.
        network: with ``data``: the network, see ``choose_task``.
        image_size: pixels per side of the network's input.
        score_fn: ``module:function`` that scores a complete state dict, instead of a task.
        score_validation: as ``score_fn``, on other data; its scores select.
        standardize: standardize vectors by the training rows, see ``TaskSettings``.
        select: patterns of the tensors to compare, if the originals are no zoo; all by default.
        base_checkpoint: a complete checkpoint for what the originals lack, if they are no zoo; by
            default the one that a ``ZooRecorder`` wrote beside selected tensors.
        state_dict_key: the key of the state dict in files that hold several.
        num_held_out: how many originals to hold out, the last ones, if they are no zoo. By
            default those that the generator held out, as far as the files beside the generated
            checkpoints say; else none.
        copy_best: how many of the generated checkpoints to copy to ``best/``: those with the best
            validation scores.
        seed: random seed of baselines and intervals.
        recalibrate_batchnorm: score with BatchNorm statistics estimated anew, too.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        fan_out: workers that score networks side by side.
        log: called with lines on what is compared and what the originals score, before the long
            work.
        progress: called with a stage's name, the steps done and the steps in all.

    Returns:
        The evaluation.

    Raises:
        UserError: a folder or file is missing, unreadable or does not fit, or a choice is given
            that the zoo has made already.
    """
    started = time.monotonic()
    chosen = choose_task(
        task=task,
        data=data,
        network=network,
        image_size=image_size,
        score_fn=score_fn,
        score_validation=score_validation,
        standardize=standardize,
    )
    if chosen is None:
        raise UserError(ONE_OF)
    generated, originals = generated_in(str(generated), log), originals_in(str(originals), log)
    out, target = Path(out), resolve_device(device)
    base = path_or_none(base_checkpoint)
    refuse_several(target, "compare")
    refuse_existing(out)
    judged = find_checkpoints([generated])
    if copy_best > len(judged.listed):
        raise UserError(f"--copy-best: expected at most {len(judged.listed)}, found {copy_best}")
    if not (Path(originals) / INDEX_FILE).is_file():  # before anything long
        runs = find_runs([originals])
        base = base or recorded_base(stored.path for run in runs for stored in run)
        if select:
            select_names(runs[0][0].read(state_dict_key)[0], select)
    task_of = open_task(chosen)
    with sole_maker(out), written_aside(out) as aside:
        aside.mkdir()
        given = _open_originals(
            originals,
            judged,
            aside,
            tuple(select),
            base=base,
            state_dict_key=state_dict_key,
            num_held_out=num_held_out,
        )
        zoo = given.zoo
        notes = [f"Generated checkpoints: {note}." for note in judged.notes] + given.notes
        vectors = read_vectors(
            judged.listed, zoo.layout, state_dict_key, rest=zoo.base, counters=given.replaced
        )
        built = task_of(zoo.base)
        used = data_on_card(Path(generated))
        facts = {
            "Task data in what is judged": "not known, no card beside it tells"
            if used is None
            else used.in_words,
            "What the generator learned from": _told_of(given.known, given.is_held_out_new, zoo),
            **_skipped_files(judged, "what is judged"),
            **given.facts,
            **_completed(zoo, given.replaced, base),
        }
        inputs = replace(
            EvaluationInputs.of(
                zoo,
                vectors,
                title=f"{Path(generated).name} against {Path(originals).name}",
                facts=network_facts(built, zoo) | facts,
            ),
            untrained=untrained_vectors(built, zoo.layout),
            symmetries=known_symmetries(built, zoo),
            data_budget=budget_of(used),
            is_held_out_new=given.is_held_out_new,
            notes=tuple(notes),
            scratch=aside,
        )
        predictor = build_predictor(built, zoo, target, recalibrate=recalibrate_batchnorm)
        for line in describe_originals(built, predictor, zoo.originals):
            log(line)
        if fan_out is not None:
            predictor = distributed(predictor, built, zoo, target, fan_out)
        evaluation, arrays = evaluate(
            inputs,
            predictor,
            EvaluationSettings(seed=seed, recalibrate_batchnorm=recalibrate_batchnorm),
            progress,
            cost=lambda: {"evaluation": _cost_since(started)},
        )
        write_evaluation(aside, evaluation, arrays)
        write_report(aside)
        if copy_best:
            _copy_best(aside / "best", judged.listed, arrays["validation/generated"], copy_best)
    add_scores(Path(generated), evaluation)
    return evaluation


def _cost_since(started: float) -> Cost:
    seconds = time.monotonic() - started
    return Cost(seconds=round(seconds, 3), peak_memory_mb=round(peak_memory(), 1))


@dataclass
class _Originals:
    """The originals as a zoo, and what must be said of them.

    Attributes:
        zoo: the originals.
        known: what the generator learned from, as far as it is known.
        is_held_out_new: whether it is proved that nothing held out trained the generator.
        replaced: names of the tensors in which vectors are completed with other values.
        facts: label to value.
        notes: one sentence each.
    """

    zoo: Zoo
    known: LearnedFrom | None
    is_held_out_new: bool
    replaced: set[str] = field(default_factory=set)
    facts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def _open_originals(
    originals: str,
    judged: FoundCheckpoints,
    scratch: Path,
    patterns: tuple[str, ...],
    *,
    base: Path | None,
    state_dict_key: str | None,
    num_held_out: int | None,
) -> _Originals:
    """Load a zoo, or make one of checkpoints."""
    known = learned_from(sorted({stored.path.absolute().parent for stored in judged.listed}))
    if (Path(originals) / INDEX_FILE).is_file():
        _refuse_what_a_zoo_has(patterns, base, num_held_out)
        is_new = is_held_out_new(read_index(Path(originals)), known)
        return _Originals(Zoo.load(Path(originals)), known, is_new)
    imported = import_checkpoints(
        [originals],
        scratch / "zoo",
        patterns or ("*",),
        base=base,
        num_held_out=num_held_out,
        state_dict_key=state_dict_key,
        known=known,
        compared=judged.listed,
    )
    return _Originals(
        Zoo.load(scratch / "zoo"),
        known,
        imported.is_held_out_new,
        set(imported.replaced),
        _skipped_files(find_checkpoints([originals]), "the originals"),
        [f"Originals: {note}." for note in imported.notes],
    )


def _skipped_files(found: FoundCheckpoints, where: str) -> dict[str, str]:
    return {f"{label} among {where}": value for label, value in found.facts.items()}


def _told_of(known: LearnedFrom | None, is_new: bool, zoo: Zoo) -> str:
    """Describe what is known of the checkpoints that trained the generator."""
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
