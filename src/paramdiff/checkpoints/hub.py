"""Checkpoints of a Hugging Face Hub repository: one per revision."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

from paramdiff.checkpoints.extra_files import BINARY_FILES
from paramdiff.checkpoints.library_folders import WEIGHT_FILES
from paramdiff.errors import UserError, in_one_line

HUB = "hf://"
"""What stands before a name that is surely on the Hub."""

_WEIGHTS = (*WEIGHT_FILES, "*-of-*.safetensors", "*-of-*.bin")
_WANTED = ("*.json", "*.txt", *BINARY_FILES, *_WEIGHTS, *(f"*/{name}" for name in _WEIGHTS))
"""A library's weights at the root, or those of a pipeline's components."""


def is_repository_name(text: str) -> bool:
    """Whether a text reads as ``owner/name``, as repositories on the Hub are called."""
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(text)
    except ValueError:  # huggingface_hub's own is one
        return False
    return "/" in text


def name_on_hub(text: str) -> str | None:
    """The name of a repository on the Hub; None for what is meant as a path of this machine.

    ``owner/name`` may be either: if there is a folder ``owner``, a path is meant that has a
    mistake in it. ``hf://owner/name`` is always the Hub's.
    """
    if text.startswith(HUB):
        return text.removeprefix(HUB)
    is_path = Path(text).exists() or Path(text).parent.is_dir()
    return None if is_path or not is_repository_name(text) else text


def names_revisions(source: str) -> bool:
    """Whether a source means ``owner/name`` or ``owner/name@revision,revision`` on the Hub."""
    return name_on_hub(source.partition("@")[0]) is not None


def cached_revisions(folder: Path) -> dict[str, str]:
    """What the Hub calls the snapshots of a local cache, whose folders are called by hashes.

    Args:
        folder: ``models--owner--name/snapshots``, or any other.

    Returns:
        Hash to revision, the one that has a number where a snapshot has several; empty for a
        folder that is none of a cache.
    """
    refs = folder.parent / "refs"
    if folder.name != "snapshots" or not refs.is_dir():
        return {}
    found: dict[str, str] = {}
    for file in sorted(path for path in refs.rglob("*") if path.is_file()):
        commit, revision = file.read_text(encoding="utf-8").strip(), str(file.relative_to(refs))
        if commit not in found or not re.search(r"\d", found[commit]):
            found[commit] = revision
    return found


def download_revisions(source: str) -> list[tuple[str, Path]]:
    """The local folders of a repository's revisions, downloaded where they are not yet.

    Args:
        source: ``owner/name``, ``owner/name@step1000,step2000``, or with a glob over branches and
            tags after the ``@``.

    Returns:
        Name and folder of each revision, in the order named; a glob's in the Hub's.

    Raises:
        UserError: the repository or a revision cannot be reached, or a glob fits none.
    """
    from huggingface_hub import HfApi, snapshot_download

    repository, _, wanted = source.removeprefix(HUB).partition("@")
    try:
        revisions: list[str | None] = []
        for pattern in wanted.split(",") if wanted else [""]:
            if not re.search(r"[*?]", pattern):
                revisions.append(pattern or None)
                continue
            refs = HfApi().list_repo_refs(repository)
            found = [ref.name for ref in (*refs.branches, *refs.tags)]
            revisions += [name for name in found if fnmatchcase(name, pattern)]
        if not revisions:
            raise UserError(f"{source}: expected revisions that fit the pattern, found none")
        wanted_files = list(_WANTED)
        return [
            (
                one or "main",
                Path(snapshot_download(repository, revision=one, allow_patterns=wanted_files)),
            )
            for one in revisions
        ]
    except UserError:
        raise
    except Exception as error:  # of the network, the Hub or the cache
        told = in_one_line(error)
        raise UserError(
            f"{source}: expected a local path or a repository on the Hub, found neither ({told})"
        ) from None
