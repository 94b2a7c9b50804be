"""The estimated cost: operations that can be counted by hand, and how they grow."""

from itertools import pairwise

import pytest

from paramdiff.recipe.schema import load_recipe
from paramdiff.runs.cost import estimate_cost
from paramdiff.runs.meta_models import build_meta_models
from paramdiff.tasks.registry import describe_task


def cost_of(name, *overrides):
    recipe = load_recipe(name, overrides)
    description = describe_task(recipe.task)
    return estimate_cost(recipe, description, build_meta_models(recipe, description))


def convolutions(channels, length, kernel=7):
    """Operations of convolutions that keep their length: a multiplication and an addition each."""
    return sum(2 * kernel * c_in * c_out * length for c_in, c_out in pairwise(channels))


def test_the_denoiser_is_counted_by_hand():
    latent, updates, batch, samples, steps = 128, 1001, 50, 200, 1000
    once = convolutions((1, 64, 128, 256, 512, 256, 128, 64, 1), latent)
    once += 2 * (256 * latent + latent * latent)  # the timestep's embedding
    plain = cost_of("quickstart", "preset=paper", "diffusion.latent_statistics=running")
    assert plain["denoiser"] == 3 * once * updates * batch
    decoding = cost_of("quickstart", "preset=paper", "diffusion=null")["generation"]
    assert plain["generation"] - decoding == once * samples * steps


def test_the_codec_is_counted_by_hand():
    length, latent, updates, batch = 192, 128, 501, 50
    encoder = decoder = 0
    at = length
    for c_in, c_out in ((1, 64), (64, 128), (128, 256), (256, 256), (256, 32)):
        at //= 2
        encoder += 2 * 7 * c_in * c_out * at
    for c_in, c_out in ((32, 256), (256, 256), (256, 128), (128, 64), (64, 64)):
        decoder += 2 * 7 * c_in * c_out * at  # a transposed convolution works on its input
        at *= 2
    decoder += 2 * 7 * 64 * length
    linear = 2 * (length * latent + 2 * latent * latent + latent * length)
    found = cost_of("quickstart", "preset=paper")["codec"]
    assert found == 3 * (encoder + decoder + linear) * updates * batch


def test_what_is_trained_for_comparison_is_counted():
    """Five orders for the average, ten originals on a tenth each; three of them at three rates."""
    plain, few = (
        cost_of("beyond/digits", f"evaluation.finetuning_curves={s}") for s in (True, False)
    )
    suffix = few["codec"] / (3 * 1500 * 6 * 64)  # all of the network
    scored = cost_of("beyond/digits", "diffusion=null", "codec={kind: pca}", "preset=default")
    data_matched = 3 * 1500 * 6 * 64 * (5 + 3 * 2 + 1 + 3 * 0.2)
    assert few["evaluation"] - scored["evaluation"] == pytest.approx(data_matched * suffix)
    started = 3 * 3 * 21 * 100 * 64
    assert plain["evaluation"] - few["evaluation"] == pytest.approx(started * suffix)


def test_pre_training_grows_with_its_epochs():
    pytest.importorskip("timm")
    one, three = (cost_of(f"ablation/save_epoch{epochs}") for epochs in (1, 3))
    assert three["pre-training"] == 3 * one["pre-training"]
    assert {**three, "pre-training": 0} == {**one, "pre-training": 0}
    per_image = one["pre-training"] / (3 * 45_000 + 5_000)
    assert per_image == pytest.approx(2 * 1.81e9, rel=0.01)  # ResNet-18's known 1.81 G


def test_only_what_follows_the_first_selected_tensor_is_scored_per_network():
    pytest.importorskip("timm")
    everything = cost_of("ablation/layers_cv0000")["evaluation"]
    head = cost_of("ablation/layers_fc0000")["evaluation"]
    last_layers = cost_of("ablation/save_epoch1")["evaluation"]
    assert head < last_layers / 100 < last_layers < everything / 10


def test_every_generator_is_trained_and_used():
    one, two = (
        cost_of("quickstart", "preset=paper", f"generator_seeds={s}") for s in ("[0]", "[0, 1]")
    )
    for stage in ("codec", "denoiser", "generation"):
        assert two[stage] == 2 * one[stage], stage
    for stage in ("pre-training", "collection"):
        assert two[stage] == one[stage], stage
    assert one["evaluation"] < two["evaluation"] < 2 * one["evaluation"]


def test_published_weights_cost_no_pre_training():
    assert "pre-training" not in cost_of("quickstart", "collection.pretraining=null")
    assert cost_of("quickstart")["pre-training"] > 0
    twice = cost_of(
        "quickstart",
        "collection.num_runs=2",
        "collection.independent_runs=true",
        "parameters.select=['*']",
    )
    assert twice["pre-training"] == 2 * cost_of("quickstart")["pre-training"]
