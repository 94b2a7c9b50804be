"""Every device of this machine gives what the CPU gives: within rounding, and from equal seeds."""

import copy

import pytest
import torch
from torch import nn

from paramdiff import load_recipe, run
from paramdiff.codecs.autoencoder import AutoencoderCodec
from paramdiff.codecs.base import Codec
from paramdiff.codecs.pca import fit_pca_codec
from paramdiff.diffusion.denoisers.conv1d import Conv1dDenoiser
from paramdiff.diffusion.denoisers.mlp import MLPDenoiser
from paramdiff.diffusion.diffusion_settings import ScheduleSettings
from paramdiff.diffusion.sampling import sample_latents
from paramdiff.diffusion.schedule import build_scheduler
from paramdiff.networks.resnet20 import ResNet20
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.runs.stage_log import forget_peak_memory, peak_memory
from paramdiff.scoring.differentiable import DifferentiableNetwork
from paramdiff.scoring.predict import Scorer
from paramdiff.storage import read_tensors
from paramdiff.tasks.base import Split
from paramdiff.tasks.classification import ClassificationTask
from paramdiff.tasks.registry import build_task
from paramdiff.training_loop import train
from paramdiff.training_settings import Optimization
from paramdiff.zoo.finetune import fine_tune
from paramdiff.zoo.plan import Run
from paramdiff.zoo.zoo_settings import FineTuningSettings

CPU = torch.device("cpu")
THERE = {
    "cpu": True,
    "cuda": torch.cuda.is_available(),
    "mps": torch.backends.mps.is_available(),
}
NAMES = ["layer3.2.bn2.weight", "layer3.2.bn2.bias"]


@pytest.fixture(params=[kind for kind, is_there in THERE.items() if is_there])
def device(request):
    """Each device in turn, without TF32, which rounds to three digits."""
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = False
    yield torch.device(request.param)
    for switch, value in zip(switches, before, strict=True):
        switch.allow_tf32 = value


def assert_close(found, expected, tolerance=1e-3):
    torch.testing.assert_close(found.cpu(), expected, rtol=tolerance, atol=tolerance)


def images(num=24):
    return torch.randn(num, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def resnet():
    torch.manual_seed(0)
    network = ResNet20(num_classes=5)
    network.train()(images())
    return network.eval()


class Stopped(Exception):
    """Raised in the middle of a training."""


def trained(device, state_file=None, stop_at=None):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6)).train()
    settings = Optimization(num_steps=12, lr=0.01, ema_decay=0.9)

    def loss(module, step, generator):
        if step == stop_at:
            raise Stopped
        x = torch.randn(16, 6, generator=generator).to(device)
        return (module(x) - x.flip(1)).square().mean()

    result = train(module, loss, settings, seed=3, device=device, state_file=state_file)
    return module, result.losses


def test_training_ends_in_the_cpus_weights_and_there(device):
    module, losses = trained(device)
    expected, expected_losses = trained(CPU)
    assert {parameter.device for parameter in module.parameters()} == {CPU}
    assert losses == pytest.approx(expected_losses, rel=1e-3)
    for found, wanted in zip(module.parameters(), expected.parameters(), strict=True):
        assert_close(found.detach(), wanted.detach())


@pytest.mark.parametrize("is_moved", [False, True], ids=["there", "on the CPU"])
def test_a_training_that_was_stopped_goes_on(device, is_moved, tmp_path, monkeypatch):
    monkeypatch.setattr("paramdiff.training_loop.SECONDS_BETWEEN_SAVES", 0.0)
    with pytest.raises(Stopped):
        trained(device, tmp_path / "state.pt", stop_at=7)
    _, losses = trained(CPU if is_moved else device, tmp_path / "state.pt")
    assert losses == pytest.approx(trained(CPU)[1], rel=1e-3)


def codecs() -> dict[str, Codec]:
    torch.manual_seed(0)
    return {
        "autoencoder": AutoencoderCodec(length=64, latent_dim=16, channels=(4, 4, 4, 4, 4)),
        "pca": fit_pca_codec(torch.randn(12, 64), 0.9),
    }


@pytest.mark.parametrize("statistics", ["batch", "sample", "running"])
@pytest.mark.parametrize("kind", ["autoencoder", "pca"])
def test_codecs(device, kind, statistics):
    codec = codecs()[kind].train(statistics == "batch")
    other = copy.deepcopy(codec).to(device)
    vectors = torch.randn(5, 64)
    with torch.no_grad():
        latents = codec.encode(vectors, statistics)
        assert_close(other.encode(vectors.to(device), statistics), latents)
        vectors = codec.decode(latents, statistics)
        assert_close(other.decode(latents.to(device), statistics), vectors)


@pytest.mark.parametrize("solver", ["ddpm", "ddim", "dpmsolver++"])
@pytest.mark.parametrize("kind", [Conv1dDenoiser, MLPDenoiser])
def test_samples_of_equal_seeds(device, kind, solver):
    torch.manual_seed(0)
    options = {"width": 16} if kind is MLPDenoiser else {"channels": (4, 8, 4)}
    denoiser = kind(latent_dim=16, **options).eval()

    def samples(device):
        return sample_latents(
            copy.deepcopy(denoiser).to(device),
            build_scheduler(ScheduleSettings(), solver),
            [5, 6, 9],
            latent_dim=16,
            num_inference_steps=10,
            batch_size=2,
            device=device,
        )

    expected = samples(CPU)
    assert_close(samples(device) / expected.std(), expected / expected.std())


def test_logits_and_labels(device):
    network, inputs = resnet(), images()
    base = network.state_dict()
    sets = [{name: base[name] + 0.1 * number for name in NAMES} for number in range(4)]
    here, there = (Scorer(network, base, NAMES, inputs, device=one) for one in (CPU, device))
    assert_close(there.logits(sets[1]), here.logits(sets[1]))
    labels = there.predict(sets)
    assert labels.device == CPU and (labels != here.predict(sets)).double().mean() < 0.03


def test_gradients_of_scores(device):
    network, inputs = resnet(), images()
    base = network.state_dict()

    def gradient(device):
        parts = DifferentiableNetwork(network, base, NAMES, inputs, device=device)
        chosen = {name: base[name].clone().to(device).requires_grad_() for name in NAMES}
        parts.logits(chosen, torch.arange(8)).square().mean().backward()
        return torch.cat([tensor.grad.cpu() for tensor in chosen.values()])

    assert_close(gradient(device), gradient(CPU))


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_checkpoints_of_fine_tuning(device, mode, tmp_path):
    split = Split(images(), torch.arange(24) % 5)
    task = ClassificationTask("images", split, split, split, resnet)

    def checkpoints(device, folder):
        network = resnet()
        return torch.stack(
            fine_tune(
                network.to(device),
                task,
                ParameterLayout.of(network.state_dict(), NAMES),
                FineTuningSettings(batch_size=8, lr=0.01, mode=mode, optimizer="sgd"),
                Run(0, (2, 4, 6)),
                seed=0,
                device=device,
                state_folder=folder,
                progress=lambda work, done, total: None,
            )
        )

    assert_close(checkpoints(device, tmp_path / "there"), checkpoints(CPU, tmp_path / "here"))


def test_peak_memory_is_the_devices(device):
    """On other devices than CUDA it is the program's, which does not hold what lies on MPS."""
    torch.ones(1, device=device)
    forget_peak_memory()
    before, large = peak_memory(), torch.ones(1 << 26, device=device)  # 256 MiB
    assert (peak_memory() > before + 200) is (device.type != "mps")
    del large


@pytest.mark.usefixtures("without_figures")
def test_a_whole_run_is_scored_as_on_the_cpu(device, tiny, tmp_path):
    recipe = load_recipe("quickstart", tiny)
    assert run(recipe, tmp_path, device=device.type).groups["generated"].n == 6
    labels = read_tensors(tmp_path / "arrays.safetensors")["labels/generated"]
    networks = [read_tensors(path) for path in sorted((tmp_path / "generated").glob("*.safe*"))]
    task = build_task(recipe.task)
    scorer = Scorer(task.build_network(), networks[0], list(networks[0]), task.test.inputs)
    differing = scorer.predict(networks) != labels
    assert differing.double().mean() < 0.02
