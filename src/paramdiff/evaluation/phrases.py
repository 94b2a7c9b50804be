"""The groups' names as phrases."""

NAMES = {
    "original": "the originals",
    "held_out": "the held-out checkpoints",
    "generated": "the generated networks",
    "reconstructed": "the codec's reconstructions",
    "average@all": "the average of all checkpoints",
    "greedy_soup": "a greedy soup of the checkpoints",
    "fine_tuned_average": "the fine-tuned average of all checkpoints",
    "fine_tuned_originals": "briefly fine-tuned checkpoints",
    "interpolation": "interpolations between pairs of checkpoints",
    "kde": "a kernel density",
    "random": "untrained values of the selected tensors",
    "permuted": "checkpoints with shuffled values",
    "rearranged": "checkpoints whose units have traded places",
}
BATCHNORM = "with re-estimated BatchNorm statistics"

_FAMILIES = {
    "gaussian": "a per-coordinate Gaussian with {} times the checkpoints' standard deviation",
    "gaussian_full": "a full-covariance Gaussian with {} times the checkpoints' deviations",
    "mixture": "a mixture of Gaussians at scale {}",
    "kde": "a kernel density with a bandwidth of {} standard deviations",
    "interpolation": "points {} of the way from one checkpoint to another",
    "average": "averages of {} checkpoints",
    "swag": "SWAG samples at scale {}",
    "multiswag": "SWAG samples of each run at scale {}",
    "noise": "checkpoints with added noise of {} times each tensor's spread",
    "noise_absolute": "checkpoints with noise of {} added to every value",
}
_KINDS = {
    "gaussian": "a fitted Gaussian",
    "gaussian_full": "a full-covariance Gaussian",
    "mixture": "a mixture of Gaussians",
    "kde": "a kernel density",
    "interpolation": "interpolated checkpoints",
    "noise": "noised checkpoints",
    "noise_absolute": "noised checkpoints",
    "swag": "SWAG samples",
    "multiswag": "SWAG samples of each run",
    "fine_tuned_average": "the fine-tuned average",
}


def in_words(name: str) -> str:
    """Return a group's name as a phrase."""
    plain, _, finish = name.partition("+")
    if plain in NAMES:
        phrase = NAMES[plain]
    else:
        family, _, strength = plain.partition("@")
        phrase = _FAMILIES.get(family, plain).format(strength)
    return f"{phrase} {BATCHNORM}" if finish == "bn" else phrase


def kind_in_words(name: str) -> str:
    """Return a group's kind as a short phrase, without its strength where the kind says enough."""
    plain, _, finish = name.partition("+")
    kind = _KINDS.get(plain.partition("@")[0], in_words(plain))
    return f"{kind} {BATCHNORM}" if finish == "bn" else kind
