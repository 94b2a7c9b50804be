"""Publish a pipeline on the Hugging Face Hub, or copy it to a folder."""

import shutil
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import RepositoryNotFoundError

from paramdiff.checkpoints.hub import HUB, is_repository_name
from paramdiff.errors import UserError, in_one_line
from paramdiff.locking import sole_maker
from paramdiff.pipeline_io import INDEX_FILE, PARTS, pipeline_files
from paramdiff.storage import CARD_FILE, StrPath, written_aside


def push(source: StrPath, target: str, *, public: bool = False) -> str:
    """Publish a pipeline on the Hugging Face Hub, or copy it to a folder.

    The pipeline's own files travel, its card among them, and nothing else.

    Args:
        source: a run's folder, or a pipeline's.
        target: ``owner/name`` on the Hub, or a new folder.
        public: let everybody see the Hub's repository; one that exists must be so already. A
            folder is what it is.

    Returns:
        The repository's address, or the folder.

    Raises:
        UserError: the source is no pipeline, the folder exists, it is not clear which of the two
            the target is, or the Hub does not take it.
    """
    source = Path(source)
    folder = source if (source / INDEX_FILE).is_file() else source / "pipeline"
    if not (folder / INDEX_FILE).is_file():
        raise UserError(f"{source}: expected a run's folder or a pipeline's, found neither")
    files = pipeline_files(folder)
    name = _hub_name(target)
    if name is None:
        if public:
            raise UserError(f"--public: expected owner/name on the Hub, found the folder {target}")
        _copy(folder, files, Path(target))
        return target
    if get_token() is None:
        raise UserError(
            f"{target}: expected a token for the Hub, found none: log in with `hf auth login`, or "
            "set HF_TOKEN"
        )
    try:
        return _upload(folder, files, name, is_public=public)
    except UserError:
        raise
    except Exception as error:  # of the network, of the Hub, or about the name
        told = in_one_line(error)
        raise UserError(f"{target}: the Hub did not take the pipeline: {told}") from None


def _hub_name(target: str) -> str | None:
    """Return the name on the Hub; None for a folder."""
    if target.startswith(HUB):
        return target.removeprefix(HUB)
    path = Path(target)
    if not is_repository_name(target):
        return None
    if path.parent.exists():
        raise UserError(
            f"{target}: expected a folder or a name on the Hub, found what may be either: say "
            f"./{target} or {HUB}{target}"
        )
    return target


def _copy(folder: Path, files: list[str], target: Path) -> None:
    with sole_maker(target), written_aside(target) as aside:
        for file in files:
            (aside / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file, aside / file)


def _upload(folder: Path, files: list[str], name: str, *, is_public: bool) -> str:
    """Commit once, after which the repository holds the pipeline and nothing else."""
    hub = HfApi()
    try:
        found = hub.model_info(name)
    except RepositoryNotFoundError:
        hub.create_repo(name, private=not is_public)
        there: set[str] = set()
    else:
        if found.private == is_public:
            wanted, is_so = ("public", "private") if is_public else ("private", "public")
            raise UserError(
                f"{name}: expected a {wanted} repository, found a {is_so} one: change that on the "
                f"Hub, or {'leave --public out' if is_public else 'say --public'}"
            )
        there = {one.rfilename for one in found.siblings or ()} - {".gitattributes"}
        foreign = sorted(one for one in there if not _is_of_a_pipeline(one))
        if foreign or (there - {CARD_FILE} and INDEX_FILE not in there):
            odd = (foreign or sorted(there))[0]
            raise UserError(
                f"{name}: expected a new repository or one of a pipeline, found one with {odd!a}"
            )
    stale = [CommitOperationDelete(path_in_repo=one) for one in sorted(there - set(files))]
    added = [CommitOperationAdd(path_in_repo=one, path_or_fileobj=folder / one) for one in files]
    hub.create_commit(name, [*stale, *added], commit_message="Add a parameter diffusion pipeline")
    return f"{hub.endpoint}/{name}"


def _is_of_a_pipeline(file: str) -> bool:
    first, _, rest = file.partition("/")
    return first in PARTS if rest else first in (INDEX_FILE, CARD_FILE)
