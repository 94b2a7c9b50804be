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
    "kde": "a kernel density in latent space",
    "random": "untrained values of the selected tensors",
    "permuted": "checkpoints with shuffled values",
    "rearranged": "checkpoints whose units have traded places",
}
_FAMILIES = {
    "gaussian": "a per-coordinate Gaussian with {} times the checkpoints' standard deviation",
    "average": "averages of {} checkpoints",
    "swag": "SWAG samples at scale {}",
    "multiswag": "SWAG samples of each run at scale {}",
    "noise": "checkpoints with added noise of {} times each tensor's spread",
    "noise_absolute": "checkpoints with noise of {} added to every value",
}
_KINDS = {
    "gaussian": "a fitted Gaussian",
    "noise": "noised checkpoints",
    "noise_absolute": "noised checkpoints",
    "swag": "SWAG samples",
    "multiswag": "SWAG samples of each run",
    "fine_tuned_average": "the fine-tuned average",
}


def in_words(name: str) -> str:
    """A group's name as a phrase."""
    if name in NAMES:
        return NAMES[name]
    family, _, strength = name.partition("@")
    return _FAMILIES.get(family, name).format(strength)


def kind_in_words(name: str) -> str:
    """A group's kind as a short phrase, without its strength where the kind says enough."""
    return _KINDS.get(name.partition("@")[0], in_words(name))
