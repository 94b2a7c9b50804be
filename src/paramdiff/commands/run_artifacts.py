"""Artifacts of a run by its folder, for commands that take one of them."""

from collections.abc import Callable
from pathlib import Path

from paramdiff.errors import UserError
from paramdiff.evaluation.schema import EVALUATION_FILE
from paramdiff.runs.folder import RunFolder
from paramdiff.zoo.zoo import INDEX_FILE


def generated_in(source: str, say: Callable[[str], None]) -> str:
    """Return the networks that a run generated if a run's folder is named, else the source.

    Args:
        source: a run's folder or any source of checkpoints.
        say: called with a line on the artifact that is taken.

    Returns:
        A source of checkpoints.

    Raises:
        UserError: the run has generated nothing yet.
    """
    run = _run_of(source)
    if run is None:
        return source
    found = run.artifact("generated")
    if not found.is_dir():
        raise UserError(f"{source}: this run has generated nothing yet: {_goes_on(run)}")
    further = run.root / "seeds"
    left_out = f", without those of further generators in {further}" if further.is_dir() else ""
    say(f"Judged: {found}{left_out}")
    return str(found)


def originals_in(source: str, say: Callable[[str], None]) -> str:
    """Return the zoo of a run if a run's folder is named, else the source.

    Args:
        source: a run's folder or any source of checkpoints.
        say: called with a line on the artifact that is taken.

    Returns:
        A source of checkpoints, or a zoo.

    Raises:
        UserError: the run has no zoo yet.
    """
    run = _run_of(source)
    compared = Path(source) / "zoo"
    if run is None and (Path(source) / EVALUATION_FILE).is_file():
        if not (compared / INDEX_FILE).is_file():
            raise UserError(f"{source}: this is a comparison; name the checkpoints themselves")
        say(f"Originals: {compared}")
        return str(compared)
    if run is None:
        return source
    zoos = [run.artifact(name) for name in ("aligned", "zoo")]
    found = next((zoo for zoo in zoos if (zoo / INDEX_FILE).is_file()), None)
    if found is None:
        raise UserError(f"{source}: this run has no zoo yet: {_goes_on(run)}")
    say(f"Originals: {found}")
    return str(found)


def refuse_unevaluated(folder: Path) -> None:
    """Raise a ``UserError`` with the next command if a run has no ``evaluation.json`` yet."""
    run = _run_of(str(folder))
    if run is None or (folder / EVALUATION_FILE).is_file():
        return
    if run.value("task") is not None:
        raise UserError(f"{folder}: this run is not evaluated yet: {_goes_on(run)}")
    if not run.artifact("generated").is_dir():
        raise UserError(f"{folder}: this run has generated nothing yet: {_goes_on(run)}")
    raise UserError(
        f"{folder}: this run is not evaluated yet: paramdiff compare {folder} --originals "
        f"{folder} --out DIR does so, with --task, --data or --score-fn"
    )


def _run_of(source: str) -> RunFolder | None:
    return RunFolder(Path(source)) if (Path(source) / "recipe.yaml").is_file() else None


def _goes_on(run: RunFolder) -> str:
    """Return the command that completes a run."""
    if run.value("task") is None:
        return f"the paramdiff fit command that began it, with --out {run.root}, completes it"
    return f"paramdiff run {run.root / 'recipe.yaml'} --out {run.root} completes it"
