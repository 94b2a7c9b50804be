"""Every method by its name, in reading order: evaluated, baselines, data-matched, controls.

To add one, write its entry in a file of this package and name it here. Evaluation, verdict,
report and model cards read all that they say of it from the entry.
"""

from paramdiff.methods.averages import AVERAGE, GREEDY_SOUP
from paramdiff.methods.controls import PERMUTED_COPIES, SHUFFLED, UNTRAINED
from paramdiff.methods.data_matched import FINE_TUNED_AVERAGE, FINE_TUNED_ORIGINALS
from paramdiff.methods.densities import KDE, MIXTURE
from paramdiff.methods.gaussians import GAUSSIAN, GAUSSIAN_FULL
from paramdiff.methods.given import GENERATED, HELD_OUT, ORIGINAL, RECONSTRUCTED
from paramdiff.methods.interpolation import INTERPOLATION
from paramdiff.methods.method import Method
from paramdiff.methods.noise import NOISE, NOISE_ABSOLUTE
from paramdiff.methods.swag import MULTISWAG, SWAG

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *(ORIGINAL, HELD_OUT, GENERATED, RECONSTRUCTED),
        *(AVERAGE, GREEDY_SOUP, INTERPOLATION),
        *(GAUSSIAN, GAUSSIAN_FULL, MIXTURE),
        *(SWAG, MULTISWAG),
        KDE,
        *(NOISE, NOISE_ABSOLUTE),
        *(FINE_TUNED_AVERAGE, FINE_TUNED_ORIGINALS),
        *(UNTRAINED, SHUFFLED, PERMUTED_COPIES),
    )
}
