"""Our codec gives the numbers that the authors' modules gave.

Recorded with ``python -m benchmarks.fidelity --reference PATH --golden``, which computes on the
authors' code at commit 0ecca89: mean, mean absolute value and maximum, or one number.
"""

from benchmarks.golden import LATENT_DIM, LENGTH, assert_golden, codec_numbers
from benchmarks.sides import OurCodec

AUTHORS = {
    "encode running": (0.009440642, 0.3558954, 1.708418),
    "decode running": (-0.3258415, 0.3763542, 0.3580699),
    "encode batch": (0.003814418, 0.6621304, 2.442681),
    "decode batch": (-0.1658153, 0.6256764, 3.092355),
    "encode sample": (-0.01227674, 0.6520156, 2.367487),
    "decode sample": (-0.1653901, 0.6279192, 2.906316),
    "autoencoder loss": (1.741803,),
    "autoencoder gradient norm": (6.382966,),
    "vae loss": (71.95731,),
    "vae gradient norm": (821.4338,),
}


def test_codec_gives_the_authors_numbers():
    assert_golden(codec_numbers(OurCodec(LENGTH, LATENT_DIM)), AUTHORS)
