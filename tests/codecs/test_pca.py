"""The linear codec is principal component analysis."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from paramdiff import memmap
from paramdiff.codecs.pca import PCACodec, fit_pca_codec


@pytest.fixture
def vectors():
    """Twelve vectors in 64 dimensions whose variance falls from direction to direction."""
    generator = torch.Generator().manual_seed(0)
    scales = 0.6 ** torch.arange(12.0)
    directions = torch.randn(12, 64, generator=generator)
    return 2 + torch.randn(12, 12, generator=generator) * scales @ directions


def reconstruct(codec, vectors):
    return codec.decode(codec.encode(vectors))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_equals_sklearn(vectors, share):
    codec = fit_pca_codec(vectors, share)
    pca = PCA(share, svd_solver="full").fit(vectors.double().numpy())
    assert codec.latent_dim == pca.n_components_
    expected = pca.inverse_transform(pca.transform(vectors.numpy()))
    np.testing.assert_allclose(reconstruct(codec, vectors).numpy(), expected, rtol=0, atol=1e-5)
    coordinates = np.abs(codec.encode(vectors).numpy())
    np.testing.assert_allclose(coordinates, np.abs(pca.transform(vectors.numpy())), atol=1e-5)


def test_components_are_orthonormal_and_their_largest_entry_is_positive(vectors):
    components = fit_pca_codec(vectors, 1.0).components
    torch.testing.assert_close(components @ components.T, torch.eye(11), rtol=0, atol=1e-5)
    largest = components.abs().argmax(1, keepdim=True)
    assert components.gather(1, largest).gt(0).all()


def test_all_of_the_variance_is_exact_at_one_component_less_than_checkpoints(vectors):
    codec = fit_pca_codec(vectors, 1.0)
    assert codec.latent_dim == 11
    torch.testing.assert_close(reconstruct(codec, vectors), vectors, rtol=0, atol=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_fewest_components_that_hold_the_share(vectors, share):
    codec = fit_pca_codec(vectors, share)
    variance = (vectors - vectors.mean(0)).square().sum()
    lost = (reconstruct(codec, vectors) - vectors).square().sum() / variance
    last = codec.encode(vectors)[:, -1].square().sum() / variance
    assert lost <= 1 - share + 1e-6
    assert lost + last > 1 - share


@pytest.mark.parametrize("columns", [1, 7, 64])
def test_reading_in_blocks_of_columns_changes_nothing(vectors, columns, monkeypatch):
    whole = fit_pca_codec(vectors, 0.99)
    expected = whole.encode(vectors)
    monkeypatch.setattr(memmap, "BLOCK_VALUES", 12 * columns)
    blocks = fit_pca_codec(vectors, 0.99)
    torch.testing.assert_close(blocks.components, whole.components, rtol=0, atol=1e-6)
    torch.testing.assert_close(blocks.mean, whole.mean, rtol=0, atol=0)
    torch.testing.assert_close(blocks.residual_std, whole.residual_std, rtol=0, atol=1e-6)
    torch.testing.assert_close(blocks.encode(vectors), expected, rtol=0, atol=1e-5)


def test_vectors_and_components_in_files_change_nothing(vectors, tmp_path, monkeypatch):
    whole = fit_pca_codec(vectors, 0.99)
    monkeypatch.setattr(memmap, "MEMORY_BUDGET", 0)
    monkeypatch.setattr(memmap, "BLOCK_VALUES", 12 * 7)
    stored = memmap.empty_array(*vectors.shape, vectors.dtype, tmp_path)
    stored.copy_(vectors)
    codec = fit_pca_codec(stored, 0.99, scratch=tmp_path)
    torch.testing.assert_close(codec.components, whole.components, rtol=0, atol=1e-6)
    torch.testing.assert_close(codec.encode(stored), whole.encode(vectors), rtol=0, atol=1e-5)
    codec.save_pretrained(tmp_path / "codec")
    loaded = PCACodec.from_pretrained(tmp_path / "codec")
    assert all(loaded.state_dict()[name].equal(one) for name, one in codec.state_dict().items())


@pytest.mark.parametrize("num", [1, 2, 5])
def test_identical_checkpoints_come_back(num):
    vectors = torch.linspace(-3, 3, 64).expand(num, 64)
    codec = fit_pca_codec(vectors, 0.9)
    assert codec.latent_dim == 1
    assert torch.isfinite(codec.encode(vectors)).all()
    torch.testing.assert_close(reconstruct(codec, vectors), vectors)


def test_constant_coordinates_come_back(vectors):
    vectors[:, 10:40] = 0.1
    codec = fit_pca_codec(vectors, 1.0)
    torch.testing.assert_close(reconstruct(codec, vectors), vectors, rtol=0, atol=1e-5)


def test_two_checkpoints_need_one_component():
    vectors = torch.randn(2, 64)
    codec = fit_pca_codec(vectors, 1.0)
    assert codec.latent_dim == 1
    torch.testing.assert_close(reconstruct(codec, vectors), vectors, rtol=0, atol=1e-5)


def test_components_and_residual_noise_hold_all_of_the_variance():
    vectors = torch.randn(40, 96, generator=torch.Generator().manual_seed(3)) * 3
    for share in (0.3, 0.8):
        codec = fit_pca_codec(vectors, share)
        rest = vectors - codec.decode(codec.encode(vectors))
        torch.testing.assert_close(codec.residual_std, rest.std(0), rtol=1e-4, atol=1e-5)
        total = rest.var(0).sum() + codec.encode(vectors).var(0).sum()
        torch.testing.assert_close(total, vectors.var(0).sum(), rtol=1e-4, atol=0)


def test_without_residual_nothing_is_given_back():
    vectors = torch.randn(40, 96, generator=torch.Generator().manual_seed(3))
    assert fit_pca_codec(vectors, 0.5, residual=False).residual_std.eq(0).all()
    assert fit_pca_codec(vectors, 1.0).residual_std.max() < 1e-3
    assert fit_pca_codec(vectors[:1], 1.0).residual_std.eq(0).all()


FIT = """
import sys, torch
from pathlib import Path
from paramdiff import memmap
from paramdiff.codecs import pca
from paramdiff.runs.stage_log import peak_memory
memmap.MEMORY_BUDGET, memmap.BLOCK_VALUES, here = 0, 1 << 20, Path(sys.argv[1])
vectors = memmap.empty_array(64, 1 << 20, torch.float32, here)
for number, row in enumerate(vectors):
    row.copy_(torch.arange(1 << 20)).mul_(number + 1).sin_()
    memmap.free_pages(vectors)
before = peak_memory()
codec = pca.fit_pca_codec(vectors, 0.8, scratch=here)
codec.encode(vectors)
print(peak_memory() - before, codec.latent_dim)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what memory a process held")
def test_memory_does_not_hold_the_vectors(tmp_path):
    """Vectors and components take 256 MB and 200 MB, a block with all that comes of it 100 MB."""
    done = subprocess.run(
        [sys.executable, "-c", FIT, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True
    )
    grown, latent_dim = map(float, done.stdout.split())
    assert latent_dim > 45
    assert grown < 250
