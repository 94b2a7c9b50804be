"""Our denoiser, loss and sampler give the numbers that the authors' modules gave.

Recorded with ``python -m benchmarks.fidelity --reference PATH --golden``, which computes on the
authors' code at commit 0ecca89: mean, mean absolute value and maximum, or one number.
"""

from benchmarks.golden import LATENT_DIM, assert_golden, denoiser_numbers
from benchmarks.sides import OurDenoiser

AUTHORS = {
    "predict running": (0.3735689, 0.9395582, 3.54333),
    "predict batch": (0.5148131, 0.8611885, 3.470753),
    "diffusion loss": (2.295448,),
    "diffusion gradient norm": (20.91983,),
    "chain of 50": (-1.068041, 2.058429, 5.758324),
}


def test_denoiser_gives_the_authors_numbers():
    assert_golden(denoiser_numbers(OurDenoiser(LATENT_DIM)), AUTHORS)
