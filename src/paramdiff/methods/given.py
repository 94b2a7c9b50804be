"""Groups that an evaluation is given: the originals, and what is evaluated beside them."""

from paramdiff.methods.method import GRAY, Method, Style

ORIGINAL = Method(
    "original",
    label="Originals",
    phrase="the originals",
    style=Style("#1b2430"),
    role="evaluated",
    parts={"ensembles": (None,), "fine-tuning curves": (None,), "aligned distance": (None,)},
)
HELD_OUT = Method(
    "held_out",
    label="Held-out checkpoints",
    phrase="the held-out checkpoints",
    style=Style("#0072b2", "s"),
    role="evaluated",
    parts={"fine-tuning curves": (None,), "aligned distance": (None,)},
)
GENERATED = Method(
    "generated",
    label="Generated",
    phrase="the generated networks",
    style=Style("#d55e00", "D"),
    role="evaluated",
    parts={"ensembles": (None,), "fine-tuning curves": (None,), "aligned distance": (None,)},
)
RECONSTRUCTED = Method(
    "reconstructed",
    label="Originals through the codec",
    label_at="Through the codec {}",
    phrase="the codec's reconstructions",
    style=Style(GRAY, "X"),
    role="evaluated",
    parts={"aligned distance": (None,)},
)
