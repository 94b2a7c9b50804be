"""Checkpoints of a Hugging Face Hub repository: one per revision."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

from paramdiff.checkpoints.companions import BINARY_FILES
from paramdiff.checkpoints.stored import WEIGHT_FILES
from paramdiff.errors import UserError, in_one_line

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


def names_revisions(source: str) -> bool:
    """Whether a source reads as ``owner/name`` or ``owner/name@revision,revision``."""
    return is_repository_name(source.partition("@")[0])


def download_revisions(source: str) -> list[Path]:
    """The local folders of a repository's revisions, downloaded where they are not yet.

    Args:
        source: ``owner/name``, ``owner/name@step1000,step2000``, or with a glob over branches and
            tags after the ``@``.

    Returns:
        One folder per revision, in the order named; a glob's in the Hub's.

    Raises:
        UserError: the repository or a revision cannot be reached, or a glob fits none.
    """
    from huggingface_hub import HfApi, snapshot_download

    repository, _, wanted = source.partition("@")
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
        return [
            Path(snapshot_download(repository, revision=one, allow_patterns=list(_WANTED)))
            for one in revisions
        ]
    except UserError:
        raise
    except Exception as error:  # of the network, the Hub or the cache
        told = in_one_line(error)
        raise UserError(
            f"{source}: expected a local path or a repository on the Hub, found neither ({told})"
        ) from None
