"""The card of a folder of generated networks: how each was made, and what they are worth."""

from paramdiff.cards.provenance import Provenance
from paramdiff.cards.reading import data_for_card
from paramdiff.cards.writing import card_metadata, render_card, versions
from paramdiff.evaluation.schema import Evaluation


def generated_card(provenance: Provenance, evaluation: Evaluation | None = None) -> str:
    """The card of a folder.

    Args:
        provenance: how its networks were generated.
        evaluation: of them, where there is one.

    Returns:
        Markdown.
    """
    own = {
        "pipeline_sha256": provenance.pipeline_sha256,
        "num_networks": len(provenance.seeds),
        "first_seed": provenance.seeds[0],
        **data_for_card(provenance.data),
    }
    return render_card(
        "generated.md.jinja",
        card_metadata(provenance.pipeline, own, evaluation),
        provenance=provenance,
        suffix=".safetensors" if provenance.form is None else provenance.form.suffix,
        versions=versions(),
        evaluation=evaluation,
    )
