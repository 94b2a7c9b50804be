"""From facts to a card: Markdown after a block of metadata, as the Hugging Face Hub reads it."""

import platform
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import TypeAdapter

import paramdiff
from paramdiff.evaluation.schema import Evaluation
from paramdiff.methods.data_use import DataUse
from paramdiff.report.families import label_of
from paramdiff.report.tables import score_headings, score_rows
from paramdiff.storage import CARD_FILE

TAGS = ["parameter-diffusion", "weight-generation", "arxiv:2402.13144"]
METADATA = "paramdiff"
"""The key of our own metadata."""


def render_card(template: str, metadata: ModelCardData, **facts: Any) -> str:
    """Render a card.

    Args:
        template: its file in ``templates/``.
        metadata: for its head.
        **facts: what the template names.

    Returns:
        Markdown.
    """
    return _templates().get_template(template).render(metadata=metadata.to_yaml(), **facts)


def card_metadata(
    name: str, own: Mapping[str, Any], evaluation: Evaluation | None
) -> ModelCardData:
    """The head of a card.

    Args:
        name: of what was run.
        own: our own metadata, which a program may rely on.
        evaluation: of the generated networks, where there is one.

    Returns:
        The metadata, with the generated networks' mean score where it is known.
    """
    results = None if evaluation is None else [_result(evaluation)]
    metadata = ModelCardData(
        library_name="paramdiff",
        tags=list(TAGS),
        model_name=name if results else None,
        eval_results=results,
    )
    metadata[METADATA] = dict(own)
    return metadata


def _result(evaluation: Evaluation) -> EvalResult:
    task = evaluation.facts.get("Task", evaluation.title).partition(":")[0]
    score = evaluation.score_info.name
    return EvalResult(
        task_type="other",
        task_name=task,
        dataset_type=task,
        dataset_name=task,
        dataset_split="test",
        metric_type=score.replace(" ", "_"),
        metric_name=f"mean {score} of {evaluation.groups['generated'].n} generated networks",
        metric_value=round(evaluation.groups["generated"].score.mean, 6),
    )


def versions() -> str:
    """Of this software and of what computes."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers"))
    return f"paramdiff {paramdiff.__version__}, {libraries}, Python {platform.python_version()}"


def inline_code(text: str) -> str:
    """Somebody's text as one Markdown code span, whatever it holds; fit for a table's cell."""
    plain = " ".join(str(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("paramdiff.model_cards", "templates"),
        autoescape=False,  # it is Markdown; names that come from others are code spans
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        code=inline_code, label=label_of, headings=score_headings, rows=score_rows
    )
    return environment


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
