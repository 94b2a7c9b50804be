"""The pipeline: seeds in, complete state dicts out; saved, loaded elsewhere, guarded."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from paramdiff.artefacts import read_json, read_tensors, write_json, write_tensors
from paramdiff.codec.convolutional import ConvolutionalCodec
from paramdiff.codec.linear import fit_linear_codec
from paramdiff.diffusion.convolutional import ConvolutionalDenoiser
from paramdiff.diffusion.mlp import MLPDenoiser
from paramdiff.diffusion.schedule import ScheduleSettings, build_scheduler
from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.selection import select
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline import ParameterDiffusionPipeline

STEPS, BATCH = 10, 4
WEIGHTS = "diffusion_pytorch_model.safetensors"


def small_network():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 5)
    )


def build(codec="linear", denoiser="mlp", solver="ddpm"):
    """Real parts with random weights around a zoo of 12 random networks."""
    torch.manual_seed(0)
    base = small_network().state_dict()
    names = select(base, ["1.*", "4.weight"])
    layout = ParameterLayout.of(base, names)
    centre = layout.flatten(base)
    zoo = centre + 0.1 * torch.randn(12, layout.num_parameters)
    zoo[:, layout.slots[3].start : layout.slots[3].stop].abs_()  # variances are positive
    space = ParameterSpace.fit(zoo, layout, base)
    vectors = space.normalise(zoo)
    if codec == "linear":
        coder = fit_linear_codec(vectors, 0.99)
    else:
        coder = ConvolutionalCodec(space.padded_length, 32, (4, 4, 4, 4, 4)).eval()
    coder.fit_latent_moments(coder.encode(vectors).detach())
    if denoiser == "mlp":
        predictor = MLPDenoiser(coder.latent_dim, width=32, depth=1).eval()
    else:
        predictor = ConvolutionalDenoiser(coder.latent_dim, (4, 8, 4)).eval()
    return ParameterDiffusionPipeline(
        space,
        coder,
        predictor,
        # an untrained denoiser removes no noise; a short schedule keeps its samples in bounds
        build_scheduler(ScheduleSettings(beta_end=2e-3), solver),
        statistics="running" if codec == "linear" else "sample",
        standardise=codec == "linear",
        num_steps=STEPS,
        batch_size=BATCH,
    )


KINDS = [("linear", "mlp"), ("convolutional", "convolutional"), ("linear", "convolutional")]


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def pipeline(request):
    return build(*request.param)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "pipeline"
    build().save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "pipeline"))


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
    with pytest.raises(UserError, match="seeds: expected at least one"):
        pipeline(seeds=[])


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
    vectors = pipeline(seeds=range(4), spread=0).vectors
    assert (vectors == vectors[0]).all()
    codec, space = pipeline.codec, pipeline.parameter_space
    with torch.no_grad():
        decoded = codec.decode(codec.latent_mean.expand(4, -1), pipeline.config.statistics)
    torch.testing.assert_close(vectors, space.denormalise(decoded), atol=1e-5, rtol=1e-5)


def test_spread_scales_dispersion():
    pipeline = build("linear", "mlp")
    space = pipeline.parameter_space
    plain = space.layout.slots[-1]  # outside the log domain everything is linear

    def deviations(spread):
        vectors = pipeline(seeds=range(8), spread=spread).vectors
        return vectors[:, plain.start : plain.stop].double().std(0)

    full = deviations(1.0)
    assert (full > 0).all()
    for spread in (0.25, 0.5, 2.0):
        torch.testing.assert_close(deviations(spread), spread * full, rtol=1e-3, atol=1e-7)


def test_the_call_outweighs_the_configuration(pipeline):
    once = pipeline(seeds=range(3)).vectors
    assert torch.equal(pipeline(seeds=range(3), num_steps=STEPS, spread=1.0).vectors, once)
    assert not torch.allclose(pipeline(seeds=range(3), num_steps=5).vectors, once)
    for bad in (0, 7):
        with pytest.raises(UserError, match=f"num_steps.*{bad}"):
            pipeline(seeds=[0], num_steps=bad)


def test_progress_counts_denoiser_evaluations(pipeline):
    calls = []
    pipeline(seeds=range(6), progress=lambda: calls.append(1))
    assert len(calls) == 2 * STEPS


def test_values_that_are_not_finite_name_the_seed():
    pipeline = build()
    with torch.no_grad():
        pipeline.codec.components.fill_(float("inf"))
    with pytest.raises(UserError, match=r"seed 3: .* not finite"):
        pipeline(seeds=[3, 4])


@pytest.mark.parametrize("solver", ["ddpm", "ddim", "dpm"])
def test_trajectory_goes_from_noise_to_the_sample(solver):
    pipeline = build(solver=solver)
    seeds = [3, 8]
    trajectory = pipeline.trajectory(seeds, num_steps=STEPS, every=3)
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


# Saved and loaded


def test_a_saved_pipeline_names_its_classes_and_holds_no_pickle(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "p")
    index = read_json(tmp_path / "p" / "model_index.json")
    assert index["_class_name"] == "ParameterDiffusionPipeline"
    for part in ("parameter_space", "codec", "denoiser"):
        assert index[part] == ["paramdiff", type(getattr(pipeline, part)).__name__]
    assert index["scheduler"] == ["diffusers", "DDPMScheduler"]
    files = [path for path in (tmp_path / "p").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    for path in files:  # JSON, or safetensors' eight bytes of length and JSON
        assert b"{" in (path.read_bytes()[:1], path.read_bytes()[8:9]), path


def test_loaded_parts_are_equal_and_ready(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "p")
    loaded = ParameterDiffusionPipeline.from_pretrained(tmp_path / "p")
    for field in ("statistics", "standardise", "num_steps", "spread", "batch_size"):
        assert loaded.config[field] == pipeline.config[field]
    assert type(loaded.scheduler) is type(pipeline.scheduler)
    assert torch.equal(loaded.scheduler.betas, pipeline.scheduler.betas)
    for part in ("parameter_space", "codec", "denoiser"):
        one, other = getattr(pipeline, part), getattr(loaded, part)
        assert type(one) is type(other) and not other.training
        assert one.state_dict().keys() == other.state_dict().keys()
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name
    assert torch.equal(loaded(seeds=range(3)).vectors, pipeline(seeds=range(3)).vectors)


def test_a_loaded_pipeline_can_be_saved_again(saved, tmp_path):
    loaded = ParameterDiffusionPipeline.from_pretrained(saved)
    loaded.save_pretrained(tmp_path / "again")
    again = ParameterDiffusionPipeline.from_pretrained(tmp_path / "again")
    assert torch.equal(again(seeds=[1, 2]).vectors, loaded(seeds=[1, 2]).vectors)


SAMPLE = """
import sys, torch
torch.set_num_threads(1)
from paramdiff import ParameterDiffusionPipeline
from paramdiff.artefacts import write_tensors
from pathlib import Path
for folder in map(Path, sys.argv[1:]):
    generated = ParameterDiffusionPipeline.from_pretrained(folder)(seeds=range(6))
    for seed, state_dict in zip(generated.seeds, generated):
        write_tensors(folder.with_name(f"{folder.name}-{seed}"), state_dict)
"""


def test_a_new_process_gives_the_same_bits(tmp_path):
    pipelines = {"-".join(kinds): build(*kinds) for kinds in KINDS}
    for name, pipeline in pipelines.items():
        pipeline.save_pretrained(tmp_path / name)
    folders = [str(tmp_path / name) for name in pipelines]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", SAMPLE, *folders], env=environment, check=True)
    for name, pipeline in pipelines.items():
        for seed, state_dict in enumerate(pipeline(seeds=range(6))):
            found = read_tensors(tmp_path / f"{name}-{seed}")
            assert found.keys() == state_dict.keys()
            for key, tensor in state_dict.items():
                assert torch.equal(found[key], tensor), (name, seed, key)


def test_the_hub_is_diffusers_own():
    from diffusers import DiffusionPipeline

    assert ParameterDiffusionPipeline.push_to_hub is DiffusionPipeline.push_to_hub


# Folders that must not load


def refused(folder, *named):
    with pytest.raises(UserError) as caught:
        ParameterDiffusionPipeline.from_pretrained(folder)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for name in (str(folder), *named):
        assert name in message, message


def test_the_untouched_copy_loads(copied):
    assert len(ParameterDiffusionPipeline.from_pretrained(str(copied))(seeds=[0])) == 1


@pytest.mark.parametrize(
    "file",
    [
        "model_index.json",
        "codec/config.json",
        f"codec/{WEIGHTS}",
        f"denoiser/{WEIGHTS}",
        "parameter_space/base.safetensors",
        f"parameter_space/{WEIGHTS}",
        "scheduler/scheduler_config.json",
        "codec",
        "denoiser",
        "scheduler",
        "parameter_space",
    ],
)
def test_a_missing_file_or_folder_is_named(copied, file):
    path = copied / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    refused(copied, file.split("/")[0])


@pytest.mark.parametrize(
    "file", ["evil.py", "codec/modeling.py", "denoiser/pytorch_model.bin", "scheduler/x.json"]
)
def test_a_foreign_file_is_named(copied, file):
    (copied / file).write_text("import os")
    refused(copied, Path(file).name)


@pytest.mark.parametrize(
    "file", [f"codec/{WEIGHTS}", f"denoiser/{WEIGHTS}", "parameter_space/base.safetensors"]
)
def test_truncated_weights_are_named(copied, file):
    content = (copied / file).read_bytes()
    (copied / file).write_bytes(content[:-8])
    refused(copied, file.split("/")[0])


@pytest.mark.parametrize("part", ["codec", "denoiser", "parameter_space"])
def test_an_extra_tensor_is_named(copied, part):
    path = copied / part / WEIGHTS
    save_file({**read_tensors(path), "stowaway": torch.zeros(2)}, path, {"format": "pt"})
    refused(copied, part, "stowaway")


@pytest.mark.parametrize(
    ("part", "tensor"), [("codec", "latent_mean"), ("denoiser", "output.bias")]
)
def test_a_missing_tensor_is_named(copied, part, tensor):
    path = copied / part / WEIGHTS
    tensors = read_tensors(path)
    del tensors[tensor]
    save_file(tensors, path, {"format": "pt"})
    refused(copied, part, tensor)


def test_a_misshapen_tensor_is_refused(copied):
    path = copied / "denoiser" / WEIGHTS
    save_file({**read_tensors(path), "output.bias": torch.zeros(99)}, path, {"format": "pt"})
    refused(copied, "denoiser", "output.bias")


def test_a_base_without_the_selected_tensors_is_refused(copied):
    path = copied / "parameter_space" / "base.safetensors"
    tensors = read_tensors(path)
    del tensors["4.weight"]
    write_tensors(path, tensors)
    refused(copied, "4.weight")


@pytest.mark.parametrize(
    "entry",
    [
        ["os", "system"],
        ["paramdiff", "MLPDenoiser"],
        ["paramdiff", "Zoo"],
        ["paramdiff"],
        ["diffusers", "UNet2DModel"],
        "LinearCodec",
        [None, None],
        None,
    ],
)
@pytest.mark.parametrize("part", ["codec", "scheduler"])
def test_an_index_with_other_classes_is_refused(copied, part, entry):
    index = read_json(copied / "model_index.json")
    write_json(copied / "model_index.json", {**index, part: entry})
    refused(copied, part)


def test_an_index_with_a_further_part_is_refused(copied):
    index = read_json(copied / "model_index.json")
    write_json(copied / "model_index.json", {**index, "extra": ["os", "system"]})
    refused(copied)


def test_an_index_of_another_pipeline_is_refused(copied):
    index = read_json(copied / "model_index.json")
    write_json(copied / "model_index.json", {**index, "_class_name": "DDPMPipeline"})
    refused(copied, "model_index.json", "ParameterDiffusionPipeline")
    write_json(copied / "model_index.json", [index])
    refused(copied, "model_index.json")
    (copied / "model_index.json").write_text("{")
    refused(copied, "model_index.json", "JSON")


def test_a_part_of_another_class_is_refused(copied):
    path = copied / "denoiser" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "_class_name": "ConvolutionalDenoiser"}))
    refused(copied, "denoiser", "ConvolutionalDenoiser", "MLPDenoiser")


def test_a_missing_folder_and_a_file_are_refused(tmp_path, monkeypatch):
    refused(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file")
    monkeypatch.chdir(tmp_path.parent)  # owner/name would be looked up on the Hub
    refused(Path(tmp_path.name) / "file")
    refused("nowhere")


# Without a denoiser: a VAE whose prior is sampled directly


@pytest.fixture
def prior():
    """A convolutional codec that decodes latents drawn from N(0, I)."""
    whole = build("convolutional", "convolutional")
    return ParameterDiffusionPipeline(
        whole.parameter_space,
        whole.codec,
        None,
        None,
        statistics="running",
        standardise=False,
        batch_size=BATCH,
    )


def test_without_a_denoiser_latents_are_standard_normal(prior):
    draws = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    latents = torch.stack([torch.randn(prior.codec.latent_dim, generator=g) for g in draws])
    generated = prior(seeds=[3, 4])
    with torch.no_grad():
        expected = prior.parameter_space.denormalise(prior.codec.decode(latents))
    torch.testing.assert_close(generated.vectors, expected, atol=1e-5, rtol=1e-5)


def test_without_a_denoiser_a_pipeline_is_saved_and_loaded(prior, tmp_path):
    prior.save_pretrained(tmp_path / "prior")
    assert not {"denoiser", "scheduler"} & {p.name for p in (tmp_path / "prior").iterdir()}
    again = ParameterDiffusionPipeline.from_pretrained(tmp_path / "prior")
    assert again.denoiser is None and again.scheduler is None
    assert torch.equal(again(seeds=range(5)).vectors, prior(seeds=range(5)).vectors)


def test_without_a_denoiser_there_are_no_steps(prior):
    with pytest.raises(UserError, match=r"num_steps: .* without a denoiser"):
        prior(seeds=[0], num_steps=10)
    with pytest.raises(UserError, match=r"num_steps: .* without a denoiser"):
        prior.trajectory([0], num_steps=10, every=1)


@pytest.mark.parametrize("part", ["denoiser", "scheduler"])
def test_a_denoiser_and_its_scheduler_are_absent_together(copied, part):
    index = read_json(copied / "model_index.json")
    index[part] = [None, None]
    write_json(copied / "model_index.json", index)
    with pytest.raises(UserError, match=f"{part}: expected one of"):
        ParameterDiffusionPipeline.from_pretrained(copied)
