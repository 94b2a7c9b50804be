"""Seeds in, complete state dicts out."""

import pytest
import torch

from paramdiff import state_dicts
from paramdiff.codecs import base
from paramdiff.errors import UserError
from tests.pipeline.parts import KINDS, STEPS, build, small_network


def test_networks_are_complete(pipeline):
    generated = pipeline(seeds=range(6))
    assert len(generated) == 6 and len(list(generated)) == 6
    network = small_network()
    for state_dict in generated:
        network.load_state_dict(state_dict, strict=True)
        assert network.eval()(torch.zeros(2, 1, 4, 4)).isfinite().all()
    assert not torch.equal(generated[0]["4.weight"], generated[1]["4.weight"])


def test_the_vectors_are_the_networks(pipeline):
    space, generated = pipeline.parameter_space, pipeline(seeds=range(3))
    for vector, state_dict in zip(generated.vectors, generated, strict=True):
        assert torch.equal(space.layout.flatten(state_dict), vector)


def test_what_is_not_selected_is_the_base(pipeline):
    space = pipeline.parameter_space
    generated = pipeline(seeds=[5])[0]
    rest = set(space.base) - set(space.layout.names)
    assert rest == {"0.weight", "0.bias", "1.num_batches_tracked", "4.bias"}
    assert list(generated) == list(space.base)
    for name in rest:
        assert generated[name].dtype == space.base[name].dtype
        assert torch.equal(generated[name], space.base[name])
    for name in space.layout.names:
        assert not torch.equal(generated[name], space.base[name]), name


def test_a_network_is_nobody_elses_memory(pipeline):
    generated = pipeline(seeds=[1])
    before = {name: tensor.clone() for name, tensor in generated[0].items()}
    for tensor in generated[0].values():
        tensor.zero_()
    assert all(torch.equal(generated[0][name], before[name]) for name in before)
    assert pipeline.parameter_space.base["0.weight"].abs().sum() > 0


def test_seeds_are_kept_in_any_order(pipeline):
    generated = pipeline(seeds=(seed for seed in [7, 2, 9]))
    assert generated.seeds == (7, 2, 9)
    assert generated[1:].seeds == (2, 9)
    assert torch.equal(generated[1:].vectors, generated.vectors[1:])
    assert torch.equal(generated[-1]["4.weight"], generated[2]["4.weight"])


def test_no_seed_is_an_error(pipeline):
    with pytest.raises(UserError, match="seeds: there is none"):
        pipeline(seeds=[])


@pytest.mark.parametrize("seeds", [4, "12", [1.5], ["1"], None, [None]])
def test_what_is_no_list_of_seeds_is_one_line(pipeline, seeds):
    with pytest.raises(UserError, match=r"^seeds: .* not whole numbers, .*range\(4\)"):
        pipeline(seeds=seeds)


def test_companions_do_not_matter(pipeline):
    together = pipeline(seeds=range(6)).vectors
    for seed in range(6):
        alone = pipeline(seeds=[seed]).vectors[0]
        torch.testing.assert_close(alone, together[seed], atol=1e-4, rtol=0)


def test_companions_do_not_matter_to_the_bit_at_equal_batch_size(pipeline):
    six = pipeline(seeds=range(6)).vectors  # batches of 4, the second one padded
    others = pipeline(seeds=[0, 40, 2, 41, 4, 42, 43, 44]).vectors
    for seed in (0, 2, 4):
        assert torch.equal(others[seed], six[seed]), seed


@pytest.mark.parametrize("kinds", KINDS[:2], ids="-".join)
def test_the_place_in_a_batch_does_not_matter_where_widths_are_multiples_of_32(kinds):
    # Elsewhere the last elements of a tensor may take a scalar instead of a vector instruction.
    pipeline = build(*kinds)
    six = pipeline(seeds=range(6)).vectors
    shuffled = pipeline(seeds=[5, 40, 3, 41, 0, 42, 43, 4, 1]).vectors
    for row, seed in ((0, 5), (2, 3), (4, 0), (7, 4), (8, 1)):
        assert torch.equal(shuffled[row], six[seed]), seed


def test_equal_seeds_are_equal_and_others_are_not(pipeline):
    vectors = pipeline(seeds=[3, 4, 3, 5]).vectors
    torch.testing.assert_close(vectors[0], vectors[2], atol=1e-4, rtol=0)
    assert not torch.allclose(vectors[0], vectors[1], atol=1e-3)


def test_the_global_stream_is_neither_used_nor_moved(pipeline):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = pipeline(seeds=[0, 1]).vectors
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(pipeline(seeds=[0, 1]).vectors, one)


def test_no_spread_is_the_mean_of_the_latents(pipeline):
    vectors = pipeline(seeds=range(4), temperature=0).vectors
    assert (vectors == vectors[0]).all()
    codec, space = pipeline.codec, pipeline.parameter_space
    with torch.no_grad():
        decoded = codec.decode(codec.latent_mean.expand(4, -1), pipeline.config.statistics)
    torch.testing.assert_close(vectors, space.denormalize(decoded), atol=1e-5, rtol=1e-5)


def test_spread_scales_dispersion():
    pipeline = build("pca", "mlp")
    space = pipeline.parameter_space
    plain = space.layout.slots[-1]  # outside the log domain everything is linear

    def deviations(temperature):
        vectors = pipeline(seeds=range(8), temperature=temperature).vectors
        return vectors[:, plain.start : plain.stop].double().std(0)

    full = deviations(1.0)
    assert (full > 0).all()
    for temperature in (0.25, 0.5, 2.0):
        torch.testing.assert_close(
            deviations(temperature), temperature * full, rtol=1e-3, atol=1e-7
        )


def test_the_call_outweighs_the_configuration(pipeline):
    once = pipeline(seeds=range(3)).vectors
    assert torch.equal(
        pipeline(seeds=range(3), num_inference_steps=STEPS, temperature=1.0).vectors, once
    )
    assert not torch.allclose(pipeline(seeds=range(3), num_inference_steps=5).vectors, once)
    for bad in (0, 7):
        with pytest.raises(UserError, match=f"num_inference_steps.*{bad}"):
            pipeline(seeds=[0], num_inference_steps=bad)


def test_progress_counts_denoiser_evaluations(pipeline):
    seen = []
    pipeline(seeds=range(6), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 2 * STEPS) for done in range(1, 2 * STEPS + 1)]


def test_values_that_are_not_finite_name_the_seed():
    pipeline = build()
    with torch.no_grad():
        pipeline.codec.components.fill_(float("inf"))
    networks = pipeline(seeds=[3, 4])
    with pytest.raises(UserError, match=r"seed 3: .* not finite"):
        networks[0]


def test_long_vectors_are_decoded_few_at_a_time(monkeypatch):
    pipeline = build()
    expected = pipeline(seeds=range(6)).vectors
    decoded = []
    decode = pipeline.codec.decode
    length = pipeline.codec.length
    monkeypatch.setattr(base, "MAX_DECODED_VALUES", 2 * length)
    monkeypatch.setattr(state_dicts, "KEPT_VALUES", 0)
    monkeypatch.setattr(
        pipeline.codec, "decode", lambda z, *rest: (decoded.append(len(z)), decode(z, *rest))[1]
    )
    networks = pipeline(seeds=range(6))
    assert decoded == []
    found = [pipeline.parameter_space.flatten(one) for one in networks]
    torch.testing.assert_close(torch.stack(found), expected, atol=1e-5, rtol=0)
    assert decoded == [2, 2, 2]
    assert pipeline.parameter_space.flatten(networks[1:][-1]).equal(found[5])
    networks[0]
    assert decoded == [2, 2, 2, 2]  # the last batch is kept, no other


@pytest.mark.parametrize("solver", ["ddpm", "ddim", "dpmsolver++"])
def test_trajectory_goes_from_noise_to_the_sample(solver):
    pipeline = build(solver=solver)
    seeds = [3, 8]
    trajectory = pipeline.trajectory(seeds, num_inference_steps=STEPS, every=3)
    assert trajectory.timesteps.shape == (5,)  # states 0, 3, 6, 9 and the finished sample
    assert trajectory.states.shape == (5, 2, pipeline.parameter_space.num_parameters)
    assert trajectory.timesteps.tolist() == sorted(trajectory.timesteps.tolist(), reverse=True)
    assert trajectory.timesteps[-1] == 0
    dim = pipeline.codec.latent_dim
    noise = torch.stack(
        [torch.randn(dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )
    assert torch.equal(trajectory.states[0], pipeline.decode(noise, seeds))
    generated = pipeline(seeds=seeds, batch_size=2).vectors
    assert torch.equal(trajectory.states[-1], generated)


def test_a_trajectory_ends_at_what_a_contracted_pipeline_generates():
    pipeline = build()
    pipeline.register_to_config(temperature=0.5)
    last = pipeline.trajectory([3, 8], num_inference_steps=STEPS, every=3).states[-1]
    assert torch.equal(last, pipeline(seeds=[3, 8], batch_size=2).vectors)
    assert not torch.equal(last, pipeline(seeds=[3, 8], batch_size=2, temperature=1.0).vectors)
