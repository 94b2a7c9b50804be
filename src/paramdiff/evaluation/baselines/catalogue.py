"""The free alternatives that every evaluation makes; append a ``Baseline`` to add one.

The Gaussian at scale 0 stands here as ``average@all``, which it is. The evaluation adds one
Gaussian that spreads exactly as widely as the generated networks.
"""

from collections.abc import Sequence

from paramdiff.evaluation.baselines.anchors import permuted, random
from paramdiff.evaluation.baselines.averages import (
    average,
    average_all,
    greedy_soup,
    interpolation,
)
from paramdiff.evaluation.baselines.construction import Baseline
from paramdiff.evaluation.baselines.distributions import gaussian, kde, swag
from paramdiff.evaluation.baselines.noise import noise, noise_absolute

BASELINES: Sequence[Baseline] = [
    average_all(),
    greedy_soup(),
    average(2),
    average(4),
    average(8),
    average(16),
    average(64),
    interpolation(),
    gaussian(0.25),
    gaussian(0.5),
    gaussian(0.75),
    gaussian(1.0),
    gaussian(1.25),
    gaussian(1.5),
    swag(0.5),
    swag(1.0),
    kde(),
    noise(0.001),
    noise(0.05),
    noise(0.15),
    noise_absolute(0.06),
    noise_absolute(0.12),
    random(),
    permuted(),
]
