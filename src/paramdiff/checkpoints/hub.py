"""Checkpoints of a Hugging Face Hub repository, one per revision."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

from paramdiff.checkpoints.extra_files import BINARY_FILES
from paramdiff.checkpoints.library_folders import WEIGHT_FILES
from paramdiff.errors import UserError, in_one_line

HUB = "hf://"
"""Prefix that marks a name as a Hub repository."""

_WEIGHTS = (*WEIGHT_FILES, "*-of-*.safetensors", "*-of-*.bin")
_WANTED = ("*.json", "*.txt", *BINARY_FILES, *_WEIGHTS, *(f"*/{name}" for name in _WEIGHTS))
"""Patterns of a library's weights at the root, and of a pipeline's components."""


def is_repository_name(text: str) -> bool:
    """Check if a text is a valid repository name, ``owner/name``."""
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(text)
    except ValueError:  # huggingface_hub's error is a subclass
        return False
    return "/" in text


def name_on_hub(text: str) -> str | None:
    """Return the name of a Hub repository, or None for a local path.

    ``owner/name`` may be either: if a folder ``owner`` exists, it is taken as a mistyped path.
    ``hf://owner/name`` always names a repository.
    """
    if text.startswith(HUB):
        return text.removeprefix(HUB)
    is_path = Path(text).exists() or Path(text).parent.is_dir()
    return None if is_path or not is_repository_name(text) else text


def names_revisions(source: str) -> bool:
    """Check if a source is ``owner/name`` or ``owner/name@revision,revision`` on the Hub."""
    return name_on_hub(source.partition("@")[0]) is not None


def cached_revisions(folder: Path) -> dict[str, str]:
    """Map the snapshot folders of a local Hub cache, named by hash, to their revisions.

    Args:
        folder: ``models--owner--name/snapshots``, or any other folder.

    Returns:
        Hash to revision, preferring one with a number; empty for a folder outside a cache.
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
    """Download a repository's revisions unless they are cached.

    Args:
        source: ``owner/name``, ``owner/name@step1000,step2000``, or with a glob over branches and
            tags after the ``@``.

    Returns:
        Name and folder of each revision, in the given order, or in the Hub's order for a glob.

    Raises:
        UserError: the repository or a revision cannot be reached, or a glob matches none.
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
            raise UserError(f"{source}: no revision matches the pattern")
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
        raise UserError(
            f"{source}: neither a local path nor a repository on the Hub ({in_one_line(error)})"
        ) from None
