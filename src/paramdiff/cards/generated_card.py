"""The card of a folder of generated networks: how each was made, and what they are worth."""

from collections.abc import Sequence
from dataclasses import dataclass

from paramdiff.cards.reading import data_for_card
from paramdiff.cards.writing import card_metadata, render_card, versions
from paramdiff.checkpoints.stored import StoredForm
from paramdiff.evaluation.data_use import NO_DATA, DataUse
from paramdiff.evaluation.schema import Evaluation


@dataclass(frozen=True)
class Making:
    """How networks were generated.

    Attributes:
        pipeline: its name.
        pipeline_sha256: of its folder.
        seeds: one per network.
        settings: label to value: solver, steps, spread.
        form: how they are stored; None for safetensors of our own.
        checkpoints: what the pipeline learned from, where that is known.
        base: the checkpoint that completes them and its SHA-256, where it is not the pipeline's.
        selected_only: whether the tensors that are not generated are left out.
        data: the task data that they were made with; None where that is not known.
    """

    pipeline: str
    pipeline_sha256: str
    seeds: Sequence[int]
    settings: dict[str, str]
    form: StoredForm | None
    checkpoints: str | None = None
    base: tuple[str, str] | None = None
    selected_only: bool = False
    data: DataUse | None = NO_DATA


def generated_card(making: Making, evaluation: Evaluation | None = None) -> str:
    """The card of a folder.

    Args:
        making: how its networks were generated.
        evaluation: of them, where there is one.

    Returns:
        Markdown.
    """
    own = {
        "pipeline_sha256": making.pipeline_sha256,
        "num_networks": len(making.seeds),
        "first_seed": making.seeds[0],
        **data_for_card(making.data),
    }
    return render_card(
        "generated.md.jinja",
        card_metadata(making.pipeline, own, evaluation),
        making=making,
        suffix=".safetensors" if making.form is None else making.form.suffix,
        versions=versions(),
        evaluation=evaluation,
    )
