"""Compare what methods make of checkpoints, and networks that were generated from them."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from paramdiff.checkpoints.formats import StoredCheckpoint
from paramdiff.checkpoints.sources import find_checkpoints
from paramdiff.commands.comparison_inputs import (
    Reading,
    Sources,
    comparison_inputs,
    completing_checkpoint,
    open_originals,
)
from paramdiff.commands.fit import fit
from paramdiff.commands.maker import Maker
from paramdiff.commands.original_scores import describe_originals
from paramdiff.commands.task_choice import ONE_OF, choose_task, open_task
from paramdiff.commands.winners import MakeCommand, with_commands, write_winner
from paramdiff.device import resolve_device
from paramdiff.errors import UserError
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_file import write_evaluation
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.schema import Cost, Evaluation
from paramdiff.locking import refuse_existing, sole_maker
from paramdiff.methods.registry import METHODS
from paramdiff.parallel import FanOut
from paramdiff.processes import refuse_several
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.report.page import write_report
from paramdiff.runs.predictors import build_predictor
from paramdiff.runs.ray_jobs import distributed
from paramdiff.runs.run_cards import add_scores
from paramdiff.runs.stage_log import peak_memory
from paramdiff.storage import StrPath, copy, path_or_none, write_json, written_aside
from paramdiff.tasks.task_settings import TaskSettings
from paramdiff.zoo.learned_from import learned_from


def compare(
    checkpoints: StrPath,
    out: StrPath,
    *,
    generated: StrPath | None = None,
    samples: Mapping[str, StrPath] = MappingProxyType({}),
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
    num_compared: int = 30,
    full: bool = False,
    with_diffusion: bool = False,
    write_best: bool = False,
    copy_best: int = 0,
    seed: int = 0,
    recalibrate_batchnorm: bool = False,
    device: str = "auto",
    fan_out: FanOut | None = None,
    log: Callable[[str], None] = ignore_progress,
    progress: StageProgress = ignore_progress,
) -> Evaluation:
    """Compare what every method makes of checkpoints, and networks that were generated from them.

    Without generated networks, all methods race (see ``evaluation.race``), and the report ranks
    them: for one network, for several used together, for many varied ones. With them, the report
    judges the generated networks beside every method at matched novelty and diversity.

    Args:
        checkpoints: the originals: a zoo, a run's folder, or checkpoints (see ``find_runs``).
        out: a new folder for ``evaluation.json``, its arrays and ``report.html``.
        generated: checkpoints to judge: a folder, a glob, or a run's folder; tensors beyond the
            compared ones are ignored.
        samples: name to further checkpoints, which join the race.
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
        num_compared: networks of every method that is in front of the race.
        full: make so many of every method.
        with_diffusion: fit a generator to the checkpoints as ``fit`` does, and let its networks
            join the race as ``generated``.
        write_best: also write the best single network to ``best/``.
        copy_best: how many of the generated checkpoints to copy to ``best/``: those with the best
            validation scores.
        seed: random seed of methods and intervals.
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
    _refuse_options(generated, samples, num_held_out, copy_best, with_diffusion, write_best)
    out, target = Path(out), resolve_device(device)
    refuse_several(target, "compare")
    refuse_existing(out)
    found = Sources.find(checkpoints, generated, samples, log)
    if found.judged is not None and copy_best > len(found.judged.listed):
        raise UserError(
            f"--copy-best: there are {len(found.judged.listed)} generated checkpoints, fewer than "
            f"{copy_best}"
        )
    base = completing_checkpoint(found.originals, path_or_none(base_checkpoint))
    reading = Reading(tuple(select), base, state_dict_key, num_held_out)
    reading.check(found.originals)
    task_of = open_task(chosen)
    settings = EvaluationSettings(
        seed=seed,
        recalibrate_batchnorm=recalibrate_batchnorm,
        num_compared=num_compared,
        is_full=full,
    )
    with sole_maker(out), written_aside(out) as aside:
        aside.mkdir()
        if with_diffusion:
            fitted = fit(
                found.originals,
                aside / "diffusion",
                select=reading.patterns,
                base_checkpoint=reading.base,
                state_dict_key=state_dict_key,
                num_samples=num_compared,
                task=task,
                data=data,
                network=network,
                image_size=image_size,
                score_fn=score_fn,
                score_validation=score_validation,
                standardize=standardize,
                force=True,  # the race tells what its reconstructions are worth
                seed=seed,
                device=device,
                log=log,
                progress=progress,
            )
            found.samples["generated"] = find_checkpoints([str(fitted.generated)])
        opened = open_originals(found, aside, reading)
        zoo, built = opened.zoo, task_of(opened.zoo.base)
        inputs = comparison_inputs(found, opened, built, reading, aside)
        own = build_predictor(built, zoo, target, recalibrate=recalibrate_batchnorm)
        for line in describe_originals(built, own, zoo.originals):
            log(line)
        predictor = own
        if fan_out is not None:
            predictor = distributed(own, built, zoo, target, fan_out)
        evaluation, arrays = evaluate(
            inputs,
            predictor,
            settings,
            progress,
            cost=lambda: {"evaluation": _cost_since(started)},
        )
        if evaluation.ranking is not None:
            choice = {
                "--task": task if isinstance(task, str) else None,
                "--data": data,
                "--network": network,
                "--image-size": image_size,
                "--score-fn": score_fn,
                "--score-validation": score_validation,
                "--standardize": standardize or None,
                "--base-checkpoint": base_checkpoint,
                "--state-dict-key": state_dict_key,
            }
            command = MakeCommand(str(checkpoints), choice, tuple(select), settings, found.samples)
            evaluation = with_commands(evaluation, command)
        write_evaluation(aside, evaluation, arrays)
        write_report(aside)
        if copy_best and found.judged is not None:
            scores = arrays["validation/generated"]
            _copy_best(aside / "best", found.judged.listed, scores, copy_best)
        if write_best and evaluation.ranking is not None:
            maker = Maker(zoo, built, own, target, aside, seed, progress)
            write_winner(aside / "best", evaluation.ranking, maker, found.samples)
    if found.generated is not None:
        add_scores(Path(found.generated), evaluation)
    return evaluation


def _refuse_options(
    generated: StrPath | None,
    samples: Mapping[str, StrPath],
    num_held_out: int | None,
    copy_best: int,
    with_diffusion: bool,
    write_best: bool,
) -> None:
    """Refuse options that have no meaning beside, or without, generated networks."""
    alone: dict[str, object] = {"--num-held-out": num_held_out, "--copy-best": copy_best}
    racing: dict[str, object] = {
        "--samples": samples,
        "--with-diffusion": with_diffusion,
        "--write-best": write_best,
    }
    for option, value in alone.items() if generated is None else ():
        if value:
            raise UserError(f"{option}: this is for generated networks; name them, too")
    for option, value in racing.items() if generated is not None else ():
        if value:
            raise UserError(
                f"{option}: this is for a race of all methods; leave the generated networks out, "
                "or name them with --samples"
            )
    taken = {*METHODS} - {"generated"}
    for name in samples:
        if name in taken or not name.isidentifier() or (name == "generated" and with_diffusion):
            raise UserError(
                f"--samples {name}=...: choose another name, of letters and digits, that is no "
                "method's"
            )


def _cost_since(started: float) -> Cost:
    seconds = time.monotonic() - started
    return Cost(seconds=round(seconds, 3), peak_memory_mb=round(peak_memory(), 1))


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
        copy(paths[row], folder / place)
        scores[place.as_posix()] = float(validation[row])
    write_json(folder / "validation.json", scores)
    known = learned_from(sorted({path.parent for path in paths}))
    if known is not None:
        for place in {(folder / name).parent for name in scores}:
            known.write(place)
