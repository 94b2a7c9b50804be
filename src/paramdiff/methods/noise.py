"""Added noise: every network is an original, disturbed.

Originals are used in a shuffled order, each equally often.
"""

from paramdiff.methods.draws import Draws
from paramdiff.methods.method import Method, Strengths, Style
from paramdiff.methods.method_context import MethodContext, Samples

ORANGE = "#b87900"


def sample_noise(context: MethodContext, draws: Draws, level: float) -> Samples:
    """Add Gaussian noise of ``level`` times each tensor's standard deviation over its elements."""
    source = draws.in_turn(len(context.originals))
    vectors = draws.normal(context.originals.shape[1])
    for slot in context.layout.slots:
        place = slice(slot.start, slot.stop)
        part = context.originals[source, place]
        # one element has no deviation; it is normalized by its size
        deviation = part.std(1, keepdim=True) if part.shape[1] > 1 else 1.0
        vectors[:, place].mul_(level * deviation).add_(part)
    return Samples(vectors, source)


def sample_absolute_noise(context: MethodContext, draws: Draws, level: float) -> Samples:
    """Add Gaussian noise of standard deviation ``level`` to every raw value."""
    source = draws.in_turn(len(context.originals))
    raw = context.normalization.invert(context.originals[source])
    noise = draws.normal(raw.shape[1]).mul_(level)
    return Samples(context.normalization.apply(noise.add_(raw)), source)


NOISE = Method(
    "noise",
    label="Originals + noise",
    label_at="Originals + noise {}",
    phrase="checkpoints with added noise",
    phrase_at="checkpoints with added noise of {} times each tensor's spread",
    short_phrase="noised checkpoints",
    reference="Wang et al. 2024 (arXiv 2402.13144; workspace/evaluate.py of the authors' code)",
    style=Style(ORANGE, "v"),
    sample=sample_noise,
    strengths=Strengths((0.001, 0.05, 0.15), (0.001, 3.0)),
    finish="batchnorm",
)
NOISE_ABSOLUTE = Method(
    "noise_absolute",
    label="Originals + absolute noise",
    label_at="Originals + absolute noise {}",
    phrase="checkpoints with noise added to every value",
    phrase_at="checkpoints with noise of {} added to every value",
    short_phrase="noised checkpoints",
    reference="Zeng et al. 2025 (arXiv 2506.07998), there of 0.06 and 0.12",
    style=Style(ORANGE, ">"),
    sample=sample_absolute_noise,
    strengths=Strengths((0.06, 0.12), (0.0001, 10.0)),
    finish="batchnorm",
)
