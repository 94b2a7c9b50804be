"""A correction makes drawn networks better, and no more alike than the originals are."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from paramdiff import training_loop
from paramdiff.codecs.base import Examples
from paramdiff.codecs.behavioral import (
    BehavioralCodec,
    TeacherTargets,
    draw,
    fit_behavioral_codec,
    smooth_similarity,
    soft_error,
)
from paramdiff.codecs.codec_settings import BehavioralCodecSettings
from paramdiff.codecs.pca import fit_pca_codec
from paramdiff.errors import UserError
from paramdiff.evaluation.metrics.similarity import pairwise_similarity
from paramdiff.progress import ignore_progress

CPU = torch.device("cpu")
NUM_CLASSES, NUM_FEATURES, NUM_EXAMPLES, N = 4, 15, 400, 40
LENGTH = NUM_CLASSES * (NUM_FEATURES + 1)


@pytest.fixture(scope="module")
def zoo():
    """Noisy copies of a linear classifier, as vectors ``[N, 64]``, and its examples."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(NUM_EXAMPLES, NUM_FEATURES, generator=generator)
    truth = torch.randn(LENGTH, generator=generator) / 2
    network = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def logits(vector, rows):
        weight, bias = vector.split([NUM_CLASSES * NUM_FEATURES, NUM_CLASSES])
        own = {"weight": weight.view(NUM_CLASSES, NUM_FEATURES), "bias": bias}
        return functional_call(network, own, (inputs[rows],))

    labels = logits(truth, torch.arange(NUM_EXAMPLES)).argmax(1)
    is_noise = torch.rand(NUM_EXAMPLES, generator=generator) < 0.1  # nobody can be right there
    noise = torch.randint(NUM_CLASSES, (NUM_EXAMPLES,), generator=generator)
    labels = torch.where(is_noise, noise, labels)
    vectors = truth + 0.4 * torch.randn(N, LENGTH, generator=generator)
    return vectors, Examples(logits, labels)


def settings(num_steps=300, **behavior):
    training = {"num_steps": num_steps, "batch_size": 64, "lr": 5e-3}
    return BehavioralCodecSettings(
        kind="behavioral",
        explained_variance=0.9,
        width=32,
        behavior={"num_networks": 4, "similarity_margin": 0.0, "training": training} | behavior,
    )


def behavior_of(vectors, examples):
    """Accuracy, and the pairwise similarity of errors."""
    rows = torch.arange(NUM_EXAMPLES)
    wrong = torch.stack([examples.logits(v, rows).argmax(1) != examples.labels for v in vectors])
    return 1 - float(wrong.float().mean()), pairwise_similarity(wrong)


@torch.no_grad()
def drawn(codec, num=100):
    return draw(codec, num, torch.Generator().manual_seed(1))


def test_smooth_similarity_of_sure_networks_is_the_papers():
    wrong = torch.rand(6, 200, generator=torch.Generator().manual_seed(0)) < 0.4
    assert float(smooth_similarity(wrong.float())) == pytest.approx(pairwise_similarity(wrong))


def test_a_sure_network_is_wrong_where_its_largest_logit_is():
    logits = 1e5 * torch.randn(3, 50, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 5
    expected = (logits.argmax(-1) != labels).float()
    for targets in (labels, F.one_hot(labels, 5).float()):
        torch.testing.assert_close(soft_error(logits, targets), expected, atol=1e-4, rtol=0)


def test_without_correction_it_is_the_linear_codec_with_latents_of_unit_variance(zoo):
    vectors, _ = zoo
    codec = fit_behavioral_codec(vectors, 0.8, residual=True, width=8)
    linear = fit_pca_codec(vectors, 0.8)
    latents = codec.encode(vectors)
    torch.testing.assert_close(latents.std(0), torch.ones(codec.latent_dim))
    torch.testing.assert_close(codec.decode(latents), linear.decode(linear.encode(vectors)))
    torch.testing.assert_close(codec.residual_std, linear.residual_std)


@pytest.mark.parametrize("target", ["labels", "originals"])
def test_drawn_networks_get_better_and_stay_as_different_as_the_originals(zoo, target):
    vectors, examples = zoo
    before = fit_behavioral_codec(vectors, 0.9, residual=True, width=32)
    codec, result = BehavioralCodec.fit(
        vectors, settings(target=target), examples=examples, seed=0, device=CPU
    )
    accuracy, similarity = behavior_of(drawn(codec), examples)
    accuracy_before, _ = behavior_of(drawn(before), examples)
    _, similarity_of_originals = behavior_of(vectors, examples)
    assert accuracy > accuracy_before + 0.05
    assert similarity == pytest.approx(similarity_of_originals, abs=0.05)
    assert len(result.losses) == 300


def test_without_labels_they_are_not_read(zoo):
    vectors, examples = zoo
    blind = Examples(examples.logits, torch.zeros_like(examples.labels))
    seeing, unseeing = (
        BehavioralCodec.fit(
            vectors, settings(5, target="originals"), examples=given, seed=0, device=CPU
        )[0].state_dict()
        for given in (examples, blind)
    )
    assert all(torch.equal(seeing[name], unseeing[name]) for name in seeing)


def test_a_wider_margin_gives_more_similar_networks(zoo):
    vectors, examples = zoo
    similarities = [
        behavior_of(
            drawn(
                BehavioralCodec.fit(
                    vectors,
                    settings(similarity_margin=margin),
                    examples=examples,
                    seed=0,
                    device=CPU,
                )[0]
            ),
            examples,
        )[1]
        for margin in (-0.1, 0.1)
    ]
    assert similarities[1] > similarities[0] + 0.03


def test_slopes_through_the_decoder_are_those_of_finite_differences(zoo):
    vectors, examples = zoo
    codec, _ = BehavioralCodec.fit(vectors, settings(20), examples=examples, seed=0, device=CPU)
    rows = torch.arange(NUM_EXAMPLES)
    generator = torch.Generator().manual_seed(2)
    latents, direction = torch.randn(2, 1, codec.latent_dim, generator=generator)
    latents.requires_grad_()

    def loss(latents):
        return F.cross_entropy(examples.logits(codec.decode(latents)[0], rows), examples.labels)

    (slope,) = torch.autograd.grad(loss(latents), latents)
    with torch.no_grad():
        above, below = (loss(latents + step * direction) for step in (1e-2, -1e-2))
    assert float((slope * direction).sum()) == pytest.approx(float(above - below) / 2e-2, rel=1e-2)


def test_interrupted_training_goes_on_to_the_bit(zoo, tmp_path, monkeypatch):
    vectors, examples = zoo
    whole, _ = BehavioralCodec.fit(vectors, settings(12), examples=examples, seed=3, device=CPU)
    monkeypatch.setattr(training_loop, "SECONDS_BETWEEN_SAVES", 0.0)

    def stop(done, total):
        if done == 7:
            raise KeyboardInterrupt

    def train(progress=ignore_progress):
        return BehavioralCodec.fit(
            vectors,
            settings(12),
            examples=examples,
            seed=3,
            device=CPU,
            state_file=tmp_path / "state.pt",
            progress=progress,
        )[0]

    with pytest.raises(KeyboardInterrupt):
        train(stop)
    resumed = train().state_dict()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.state_dict().items())


def test_it_is_saved_and_loaded(zoo, tmp_path):
    vectors, examples = zoo
    codec, _ = BehavioralCodec.fit(vectors, settings(5), examples=examples, seed=0, device=CPU)
    codec.save_pretrained(tmp_path)
    loaded = BehavioralCodec.from_pretrained(tmp_path)
    assert torch.equal(drawn(codec), drawn(loaded))


def test_what_the_originals_say_is_their_mean_or_the_labels(zoo):
    vectors, examples = zoo
    own = TeacherTargets.of(vectors[:3], examples, "originals").targets
    rows = torch.arange(NUM_EXAMPLES)
    expected = torch.stack([examples.logits(v, rows).softmax(1) for v in vectors[:3]]).mean(0)
    torch.testing.assert_close(own, expected)
    labels = TeacherTargets.of(vectors[:3], examples, "labels").targets
    assert torch.equal(labels, examples.labels)


def test_one_checkpoint_is_not_enough(zoo):
    vectors, examples = zoo
    with pytest.raises(UserError, match="at least 2 checkpoints"):
        BehavioralCodec.fit(
            vectors[:1], settings(), examples=examples, seed=0, device=CPU, state_file=None
        )
