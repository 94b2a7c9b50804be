"""Data-matched baselines: networks fine-tuned on as much training data as the generator saw."""

from paramdiff.methods.draws import Draws
from paramdiff.methods.method import Method, Style
from paramdiff.methods.method_context import MethodContext, Samples

VIOLET = "#5b4bb7"


def sample_fine_tuned_average(context: MethodContext, draws: Draws, strength: None) -> Samples:
    """Fine-tune the average, once for each of a few orders of the examples."""
    training = context.data_matched
    assert training is not None
    raw = training.average(FINE_TUNED_AVERAGE.name)
    return Samples(
        context.normalization.apply(raw),
        raw=raw,
        facts=training.facts(),
        data_used=training.budget.use,
    )


def sample_fine_tuned_originals(context: MethodContext, draws: Draws, strength: None) -> Samples:
    """Fine-tune a few originals, each on a share of the examples."""
    training = context.data_matched
    assert training is not None
    raw, source = training.some_originals(FINE_TUNED_ORIGINALS.name, len(draws))
    return Samples(
        context.normalization.apply(raw),
        source,
        raw,
        facts=training.facts(),
        data_used=training.budget.use,
    )


FINE_TUNED_AVERAGE = Method(
    "fine_tuned_average",
    label="Average, fine-tuned",
    phrase="the fine-tuned average of all checkpoints",
    short_phrase="the fine-tuned average",
    reference="Without labels: distillation from the originals, Hinton et al. 2015 "
    "(arXiv 1503.02531)",
    style=Style(VIOLET, "*"),
    sample=sample_fine_tuned_average,
    role="data-matched baseline",
    needs=frozenset({"training examples"}),
    works_on_products=False,
)
FINE_TUNED_ORIGINALS = Method(
    "fine_tuned_originals",
    label="Originals, fine-tuned",
    phrase="briefly fine-tuned checkpoints",
    reference=FINE_TUNED_AVERAGE.reference,
    style=Style(VIOLET, "H"),
    sample=sample_fine_tuned_originals,
    role="data-matched baseline",
    needs=frozenset({"training examples"}),
    works_on_products=False,
    parts={"ensembles": (None,)},
)
