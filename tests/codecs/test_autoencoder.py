"""The paper's autoencoder: sizes, statistics, refusals."""

import pytest
import torch

from paramdiff.codecs.autoencoder import AutoencoderCodec, SwitchedBatchNorm
from paramdiff.codecs.codec_settings import CHANNELS
from paramdiff.errors import UserError

COUNTS = {  # the authors' ``model/pdiff.py``: (length, latent_dim) to the autoencoder's parameters
    (2048, 128): 2_199_201,
    (5120, 128): 2_988_705,
    (768, 128): 1_870_241,
    (3072, 128): 2_462_369,
    (4096, 128): 2_725_537,
    (9408, 1024): 23_016_929,
    (51_328, 512): 54_776_737,
    (24_320, 768): 40_201_505,
    (67_008, 768): 105_812_961,
    (25_152, 768): 41_480_289,
    (80_768, 768): 126_962_081,
    (75_008, 768): 118_108_961,
    (10_880, 256): 7_352_993,
    (30_016, 256): 17_169_761,
    (100_288, 512): 104_960_737,
    (300_288, 1024): 619_030_049,
}


@pytest.fixture
def codec():
    torch.manual_seed(0)
    return AutoencoderCodec(length=64, latent_dim=6, channels=(4, 8, 3)).eval()


def averages(codec):
    return {name: t.clone() for name, t in codec.named_buffers() if "norm" in name}


@pytest.mark.parametrize(("length", "latent_dim"), COUNTS)
def test_parameter_count_is_the_papers(length, latent_dim):
    with torch.device("meta"):
        codec = AutoencoderCodec(length=length, latent_dim=latent_dim)
    assert sum(p.numel() for p in codec.parameters()) == COUNTS[length, latent_dim]


@pytest.mark.parametrize("statistics", ["sample", "batch", "running"])
def test_shapes(codec, statistics):
    latents = codec.encode(torch.randn(5, 64), statistics)
    assert latents.shape == (5, 6)
    assert codec.decode(latents, statistics).shape == (5, 64)


def test_sample_statistics_normalize_each_sample_as_a_batch_of_one_bit_for_bit():
    norm = SwitchedBatchNorm(3).eval()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(5, 3, 32)
    together = norm(x, "sample")
    for i in range(len(x)):
        assert torch.equal(together[i : i + 1], norm(x[i : i + 1], "batch"))


def test_sample_statistics_decode_one_latent_as_the_authors_do_bit_for_bit(codec):
    latents = torch.randn(4, 6)
    alone = torch.cat([codec.train().decode(z, "batch") for z in latents.split(1)])
    assert torch.equal(torch.cat([codec.decode(z, "sample") for z in latents.split(1)]), alone)
    torch.testing.assert_close(codec.decode(latents, "sample"), alone, rtol=0, atol=1e-5)


def test_sample_statistics_ignore_the_batch_and_batch_statistics_do_not(codec):
    vectors, others = torch.randn(4, 64), 3 + torch.randn(4, 64)
    mixed = torch.cat([vectors, others])
    for statistics, is_same in (("sample", True), ("running", True), ("batch", False)):
        difference = codec.encode(mixed, statistics)[:4] - codec.encode(vectors, statistics)
        assert (difference.abs().max() < 1e-5) == is_same


@pytest.mark.parametrize("statistics", ["sample", "batch", "running"])
@pytest.mark.parametrize("is_training", [True, False])
def test_running_averages_move_only_in_training_with_batch_statistics(
    codec, statistics, is_training
):
    before = averages(codec)
    codec.train(is_training)
    codec.decode(codec.encode(torch.randn(5, 64), statistics), statistics)
    moved = [name for name, tensor in averages(codec).items() if not tensor.equal(before[name])]
    assert moved == (list(before) if statistics == "batch" and is_training else [])


def test_channels_of_the_caller_are_left_alone():
    channels = list(CHANNELS)
    codec = AutoencoderCodec(length=64, latent_dim=4, channels=channels)
    assert channels == list(CHANNELS)
    assert list(codec.config["channels"]) == channels


def test_latent_larger_than_the_vector_is_refused():
    AutoencoderCodec(length=64, latent_dim=64)
    with pytest.raises(UserError, match=r"codec\.latent_dim: 65 is more than .* 64"):
        AutoencoderCodec(length=64, latent_dim=65)


def test_length_that_cannot_be_halved_is_refused():
    with pytest.raises(UserError, match=r"5 halvings .* divisible by 32, found 80"):
        AutoencoderCodec(length=80, latent_dim=4)


def test_latent_moments_standardize_and_back(codec):
    latents = 5 + 3 * torch.randn(20, 6)
    latents[:, 2] = 7.0
    codec.fit_latent_moments(latents)
    standard = codec.standardize(latents)
    torch.testing.assert_close(standard.mean(0), torch.zeros(6), rtol=0, atol=1e-5)
    expected = torch.ones(6)
    expected[2] = 0.0
    torch.testing.assert_close(standard.std(0), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(codec.destandardize(standard), latents)


def test_latent_moments_of_one_checkpoint(codec):
    codec.fit_latent_moments(torch.full((1, 6), 2.0))
    assert codec.latent_mean.eq(2.0).all()
    assert codec.latent_std.eq(1.0).all()
