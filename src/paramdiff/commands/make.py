"""Make networks from checkpoints by any method of the registry, as checkpoints."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from paramdiff.commands.inspect import sources_of
from paramdiff.commands.maker import Made, Maker
from paramdiff.commands.original_scores import describe_originals
from paramdiff.commands.run_artifacts import originals_in
from paramdiff.commands.task_choice import choose_task, open_task
from paramdiff.device import resolve_device
from paramdiff.errors import UserError
from paramdiff.locking import sole_maker
from paramdiff.methods.group_names import phrase_of
from paramdiff.methods.method import Member
from paramdiff.methods.registry import find_member
from paramdiff.permutation.align import align as align_channels
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.runs.alignment_stage import symmetries_of
from paramdiff.runs.predictors import build_predictor
from paramdiff.storage import PARTIAL, StrPath, path_or_none
from paramdiff.tasks.base import Task
from paramdiff.tasks.task_settings import TaskSettings
from paramdiff.zoo.import_checkpoints import import_checkpoints
from paramdiff.zoo.zoo import INDEX_FILE, Zoo


def make(
    method: str,
    checkpoints: StrPath | Sequence[StrPath],
    out: StrPath,
    *,
    num_samples: int = 20,
    seed: int = 0,
    select: Sequence[str] = (),
    base_checkpoint: StrPath | None = None,
    state_dict_key: str | None = None,
    align: bool = False,
    task: str | TaskSettings | None = None,
    data: str | None = None,
    network: str | None = None,
    image_size: int | None = None,
    score_fn: str | None = None,
    score_validation: str | None = None,
    standardize: bool = False,
    keep_batchnorm: bool = False,
    keep_factors: bool = False,
    device: str = "auto",
    log: Callable[[str], None] = ignore_progress,
    progress: StageProgress = ignore_progress,
) -> Made:
    """Make networks from checkpoints by one method, and write them in the checkpoints' format.

    The networks are those that ``compare`` evaluates under the same name, for the same seed.

    Args:
        method: its name, at a strength if it has one: ``average``, ``average@16``, ``swag@1.3``;
            a name that ends in ``+bn`` re-estimates BatchNorm statistics. See ``METHODS``.
        checkpoints: files, folders (one sub-folder per run), globs, ``owner/name@revision`` on
            the Hub, a zoo or a run's folder.
        out: a new folder.
        num_samples: networks to make; a method with a single result makes that.
        seed: random seed.
        select: patterns of the tensors to make; by default all.
        base_checkpoint: a complete checkpoint for the tensors that are not selected.
        state_dict_key: the key of the state dict in files that hold several.
        align: permute the channels of independent runs into one order first; needs the network.
        task: see ``choose_task``; BatchNorm statistics are re-estimated on its training inputs,
            and its validation split chooses if the method chooses.
        data: see ``choose_task``.
        network: see ``choose_task``.
        image_size: see ``choose_task``.
        score_fn: see ``choose_task``.
        score_validation: see ``choose_task``.
        standardize: see ``choose_task``.
        keep_batchnorm: leave BatchNorm statistics as the method makes them.
        keep_factors: make the factors of low-rank adapters, not their products.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        log: called with lines on what the originals score, before the work.
        progress: called with a stage's name, the steps done and the steps in all.

    Returns:
        Where the networks are, and what was chosen on the way.

    Raises:
        UserError: anything that the user can mend.
    """
    member, wants_finish = find_member(method)
    out, target, base = Path(out), resolve_device(device), path_or_none(base_checkpoint)
    chosen = choose_task(
        task=task,
        data=data,
        network=network,
        image_size=image_size,
        score_fn=score_fn,
        score_validation=score_validation,
        standardize=standardize,
    )
    _refuse_without_task(method, member, wants_finish, align, has_task=chosen is not None)
    task_of = None if chosen is None else open_task(chosen)
    with sole_maker(out), _scratch_beside(out) as scratch:
        zoo = _open(checkpoints, scratch, tuple(select), base, state_dict_key, log)
        built = None if task_of is None else task_of(zoo.base)
        predictor = None
        if built is not None:
            predictor = build_predictor(built, zoo, target, recalibrate=wants_finish)
            for line in describe_originals(built, predictor, zoo.originals):
                log(line)
        if align:
            zoo = _aligned(zoo, built, seed, progress)
        maker = Maker(
            zoo, built, predictor, target, scratch, seed, progress, keeps_factors=keep_factors
        )
        return maker.write(out, method, num_samples, keeps_batchnorm=keep_batchnorm)


def _refuse_without_task(
    method: str, member: Member, wants_finish: bool, align: bool, *, has_task: bool
) -> None:
    """Refuse, before anything is read, what cannot be made without a task."""
    if has_task:
        return
    if wants_finish:
        raise UserError(
            f"{method}: BatchNorm statistics are re-estimated on training inputs; name the data "
            "with --task, or --data and --network"
        )
    if align:
        raise UserError(
            "--align: channels are matched by the network's structure; name it with --task, or "
            "--data and --network"
        )
    if "validation labels" in member.needs:
        raise UserError(
            f"{method}: {phrase_of(member.name)} is chosen by validation scores; name the data "
            "with --task or --data, or a --score-fn"
        )


@contextmanager
def _scratch_beside(out: Path) -> Iterator[Path]:
    """Yield a temporary folder on the disk of the new folder."""
    parent = out.absolute().parent
    with TemporaryDirectory(prefix=f"{PARTIAL}{out.name}-zoo-", dir=parent) as name:
        yield Path(name)


def _open(
    checkpoints: StrPath | Sequence[StrPath],
    scratch: Path,
    patterns: tuple[str, ...],
    base: Path | None,
    state_dict_key: str | None,
    log: Callable[[str], None],
) -> Zoo:
    """Load a zoo, or make one of checkpoints."""
    sources = sources_of(checkpoints)
    if len(sources) == 1:
        sources = [originals_in(sources[0], log)]
        if (Path(sources[0]) / INDEX_FILE).is_file():
            if patterns or base is not None:
                raise UserError(
                    f"{sources[0]} is a zoo, whose tensors are selected already; leave out "
                    "--select and --base-checkpoint"
                )
            return Zoo.load(Path(sources[0]))
    imported = import_checkpoints(
        sources,
        scratch / "zoo",
        patterns or ("*",),
        base=base,
        state_dict_key=state_dict_key,
    )
    for note in imported.notes:
        warnings.warn(note, stacklevel=3)
    return Zoo.load(scratch / "zoo")


def _aligned(zoo: Zoo, task: Task | None, seed: int, progress: StageProgress) -> Zoo:
    """Permute the channels of independent runs into one order."""
    found = align_channels(
        zoo.originals,
        zoo.held_out,
        symmetries_of(task, zoo.layout),
        seed=seed,
        progress=partial(progress, "aligning"),
    )
    return replace(zoo, originals=found.originals, held_out=found.held_out)
