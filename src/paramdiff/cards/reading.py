"""What the cards of pipelines and generated networks tell a program; anybody may write one."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from pydantic import TypeAdapter

from paramdiff.artefacts import CARD_FILE
from paramdiff.cards.writing import METADATA
from paramdiff.evaluation.data_use import DataUse

DATA = "training_data"
MOST_IMAGES = 10**8
"""Of what somebody's card may tell: rivals are trained on as many."""


def data_for_card(used: DataUse | None) -> dict[str, Any]:
    """Our own metadata on what task data was learned from; nothing where that is unknown."""
    return {} if used is None else {DATA: asdict(used)}


def data_on_card(folder: Path) -> DataUse | None:
    """The task data that what lies in a folder was made with, as far as its card tells.

    Args:
        folder: of a pipeline or of checkpoints, maybe a stranger's.

    Returns:
        None where no card of ours tells, or none that could be true.
    """
    try:
        used = TypeAdapter(DataUse).validate_python(_own(folder)[DATA])
    except Exception:  # see _own
        return None
    is_credible = used.images_seen is None or 0 < used.images_seen <= MOST_IMAGES
    return used if is_credible else None


def checkpoints_on_card(folder: Path) -> str | None:
    """What a pipeline learned from, as far as its card tells.

    Args:
        folder: the pipeline's, maybe a stranger's.

    Returns:
        For people; None where there is no card of ours.
    """
    try:
        told = _own(folder)
        count, digest = int(told["num_checkpoints"]), str(told["checkpoints_sha256"])
    except Exception:  # see _own
        return None
    if re.fullmatch("[0-9a-f]{64}", digest) is None:
        return None
    return f"{count} checkpoints, SHA-256 of their hashes `{digest}`"


def _own(folder: Path) -> dict[str, Any]:
    """Our own metadata; whatever a stranger's card may raise where there is none."""
    return ModelCard.load(folder / CARD_FILE).data[METADATA]
