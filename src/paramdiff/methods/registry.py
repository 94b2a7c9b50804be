"""The free alternatives: constructions without a strength, and families that have one.

Append a ``Baseline`` or a ``Family`` to add one. A family at strength 0 stands here as
``average@all`` or as the originals, which it is.
"""

from collections.abc import Sequence

from paramdiff.methods.averages import (
    average,
    average_all,
    greedy_soup,
    interpolation,
    interpolation_at,
)
from paramdiff.methods.controls import permuted, random
from paramdiff.methods.densities import gaussian_full, kde, mixture
from paramdiff.methods.gaussians import gaussian, multiswag, swag
from paramdiff.methods.method import Baseline, Family
from paramdiff.methods.noise import noise, noise_absolute

CONSTRUCTIONS: Sequence[Baseline] = [
    average_all(),
    greedy_soup(),
    average(2),
    average(4),
    average(8),
    average(16),
    average(64),
    interpolation(),
    kde(),
    random(),
    permuted(),
]

FAMILIES: Sequence[Family] = [
    Family("gaussian", (0.25, 0.5, 0.75, 1.0, 1.25, 1.5), 0.01, 3.0, gaussian),
    Family("gaussian_full", (0.5, 1.0), 0.01, 3.0, gaussian_full),
    Family("mixture", (1.0,), 0.01, 3.0, mixture),
    Family("swag", (0.5, 1.0), 0.01, 5.0, swag),
    Family("multiswag", (0.5, 1.0, 1.5), 0.01, 5.0, multiswag),
    Family("kde", (0.3,), 0.01, 3.0, kde),
    Family("interpolation", (0.25,), 0.01, 0.5, interpolation_at),
    Family("noise", (0.001, 0.05, 0.15), 0.001, 3.0, noise),
    Family("noise_absolute", (0.06, 0.12), 0.0001, 10.0, noise_absolute),
]

BASELINES: Sequence[Baseline] = [
    *CONSTRUCTIONS,
    *(one.at(strength) for one in FAMILIES if one.name != "multiswag" for strength in one.fixed),
]
"""All that every evaluation of one trajectory makes."""
