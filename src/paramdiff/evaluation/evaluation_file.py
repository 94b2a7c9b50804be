"""An evaluation as files: ``evaluation.json`` and the arrays of its figures."""

from pathlib import Path

from torch import Tensor

from paramdiff.errors import UserError
from paramdiff.evaluation.schema import ARRAYS_FILE, EVALUATION_FILE, Evaluation
from paramdiff.settings import load
from paramdiff.storage import read_json, write_json, write_tensors

EARLIER_SCHEMAS = (1, 2)


def write_evaluation(folder: Path, evaluation: Evaluation, arrays: dict[str, Tensor]) -> None:
    """Write the arrays, then the numbers: whole when ``evaluation.json`` exists."""
    write_tensors(folder / ARRAYS_FILE, arrays)
    write_json(folder / EVALUATION_FILE, evaluation.model_dump(mode="json", by_alias=True))


def read_evaluation(path: Path) -> Evaluation:
    """Read and check an ``evaluation.json``.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        UserError: the file is missing, is not JSON, was written by an earlier version, or a field
            of it is not as it should be.
    """
    content = read_json(path)
    found = content.get("schema") if isinstance(content, dict) else None
    if found in EARLIER_SCHEMAS:
        raise UserError(
            f"{path}: schema {found} was written by an earlier version and cannot be read; "
            "remove the file and evaluate again"
        )
    return load(Evaluation, content, path)
