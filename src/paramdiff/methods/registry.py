"""Every method by its name, in reading order: evaluated, baselines, data-matched, controls.

To add one, write its entry in a file of this package and name it here. Evaluation, verdict,
report and model cards read all that they say of it from the entry.
"""

from paramdiff.methods.averages import AVERAGE, GREEDY_SOUP, TOP
from paramdiff.methods.controls import PERMUTED_COPIES, SHUFFLED, UNTRAINED
from paramdiff.methods.data_matched import FINE_TUNED_AVERAGE, FINE_TUNED_ORIGINALS
from paramdiff.methods.densities import KDE, MIXTURE
from paramdiff.methods.from_base import MODEL_STOCK, TASK_ARITHMETIC, WISE_FT
from paramdiff.methods.gaussians import GAUSSIAN, GAUSSIAN_FULL
from paramdiff.methods.given import GENERATED, HELD_OUT, ORIGINAL, RECONSTRUCTED
from paramdiff.methods.interpolation import INTERPOLATION, NEIGHBOR_INTERPOLATION
from paramdiff.methods.method import Method
from paramdiff.methods.noise import NOISE, NOISE_ABSOLUTE
from paramdiff.methods.spherical import KARCHER_MEAN, SLERP
from paramdiff.methods.swag import MULTISWAG, SWAG
from paramdiff.methods.trajectory_averages import DECAYED, EMA, LAST, POWER_EMA, RUN_AVERAGE

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *(ORIGINAL, HELD_OUT, GENERATED, RECONSTRUCTED),
        *(AVERAGE, RUN_AVERAGE, LAST, EMA, POWER_EMA, DECAYED),
        *(TOP, GREEDY_SOUP),
        *(WISE_FT, TASK_ARITHMETIC, MODEL_STOCK),
        *(KARCHER_MEAN, SLERP, INTERPOLATION, NEIGHBOR_INTERPOLATION),
        *(GAUSSIAN, GAUSSIAN_FULL, MIXTURE),
        *(SWAG, MULTISWAG),
        KDE,
        *(NOISE, NOISE_ABSOLUTE),
        *(FINE_TUNED_AVERAGE, FINE_TUNED_ORIGINALS),
        *(UNTRAINED, SHUFFLED, PERMUTED_COPIES),
    )
}
