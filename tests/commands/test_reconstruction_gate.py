"""The check between codec and denoiser: working zoos pass, noise stops, a stop is no dead end."""

import pytest
import torch

from paramdiff.codecs.pca import fit_pca_codec
from paramdiff.commands.reconstruction_gate import ReconstructionGate, explained_variance
from paramdiff.errors import UserError
from paramdiff.runs.run import make_networks
from paramdiff.tasks.user_task import ScoringFunctions, import_scoring
from tests.runs.inspecting import times_of

from .test_fit import planned

CHECK = ReconstructionGate(device="cpu")


def saved(folder, vectors):
    folder.mkdir(parents=True)
    for number, vector in enumerate(vectors):
        torch.save({"w": vector.clone()}, folder / f"{number}.pt")
    return folder


def noise(num, size=128, spread=1.0):
    return spread * torch.randn(num, size, generator=torch.Generator().manual_seed(0))


def along_three_directions(num, size=128):
    return noise(num, 3) @ noise(3, size) + 0.1 * noise(num, size)


def checked(folder, out, *overrides, check=CHECK, **options):
    quick = ["diffusion.training.num_steps=5", "generation.num_inference_steps=10", *overrides]
    recipe = planned(folder, overrides=quick, **options).recipe
    return make_networks(recipe, out, device="cpu", check=check)


def test_explained_variance_of_principal_components_is_their_share():
    vectors = noise(40, 24)
    codec = fit_pca_codec(vectors, 0.7)
    centered = vectors - vectors.mean(0)
    variances = torch.linalg.svdvals(centered) ** 2
    expected = float(variances[: codec.latent_dim].sum() / variances.sum())
    found = explained_variance(codec, vectors, vectors.mean(0), "running")
    assert found == pytest.approx(expected, abs=1e-5)
    average = vectors.mean(0, keepdim=True)
    assert explained_variance(codec, average, average[0], "running") == 1


def test_what_lies_along_few_directions_passes(tmp_path):
    made = checked(saved(tmp_path / "in", along_three_directions(40)), tmp_path / "out")
    told = made.facts["Reconstruction"]
    assert "of held-out checkpoints" in told and float(told.split("%")[0]) > 70
    again = checked(tmp_path / "in", tmp_path / "out")
    assert again.facts == {}  # what is long past is not asked again


@pytest.mark.parametrize("num", [30, 150])
@pytest.mark.parametrize("spread", [1.0, torch.linspace(0.1, 3, 64)], ids=["even", "uneven"])
def test_independent_noise_stops(tmp_path, num, spread):
    """Fewer checkpoints than parameters and more; parameters that vary alike and differently."""
    folder = saved(tmp_path / "in", noise(num, 64, spread))
    with pytest.raises(UserError) as stopped:
        checked(folder, tmp_path / "out")
    told = str(stopped.value)
    assert "\n" not in told and "of held-out checkpoints explained" in told
    assert "more checkpoints or a wider codec (--set codec.explained_variance=0.95)" in told
    assert "--force" in told


def test_after_a_stop_the_same_command_goes_on_from_the_zoo(tmp_path):
    folder, out = saved(tmp_path / "in", noise(30)), tmp_path / "out"
    with pytest.raises(UserError, match="codec: "):
        checked(folder, out)
    parts = {path.name for path in out.rglob("*") if path.is_dir()}
    assert parts == {"zoo", "checkpoints", "pipeline", "parameter_space", "codec"}
    before = {name: time for name, time in times_of(out).items() if name.startswith("zoo")}
    with pytest.raises(UserError, match=r"explained_variance=0\.99"):
        checked(folder, out, "codec.explained_variance=0.95")
    wider = ReconstructionGate(device="cpu", is_binding=False)
    made = checked(folder, out, "codec.explained_variance=0.9", check=wider)
    assert made.context.recipe.codec.explained_variance == 0.9
    assert before.items() <= times_of(out).items()
    assert len(list((out / "generated").glob("*.pt"))) == 3
    with pytest.raises(UserError, match=r"another recipe: codec\.explained_variance"):
        checked(folder, out)  # a denoiser is there


def test_a_stopped_folder_is_not_open_to_other_checkpoints(tmp_path):
    folder, out = saved(tmp_path / "in", noise(30)), tmp_path / "out"
    with pytest.raises(UserError, match="codec: "):
        checked(folder, out)
    other = saved(tmp_path / "other", along_three_directions(30))
    with pytest.raises(UserError, match=r"another recipe: collection\.checkpoints"):
        checked(other, out)


def test_where_none_are_held_out_it_is_said(tmp_path):
    made = checked(saved(tmp_path / "in", along_three_directions(10)), tmp_path / "out")
    assert "of the checkpoints it learned from" in made.facts["Reconstruction"]


def one_is_right(state):
    return state["w"] > 0.1


def all_are_right(state):
    return state["w"] < 100


@pytest.mark.parametrize("cares", [False, True])
def test_answers_decide_where_they_are_asked_for(tmp_path, cares):
    """Independent checkpoints, each right about one example of its own.

    Their average is right about nearly all, and so is what the codec makes of a held-out one.
    """
    folder, out = saved(tmp_path / "in", 8 * torch.eye(64)[:30]), tmp_path / "out"
    name = f"{__name__}:{'one_is_right' if cares else 'all_are_right'}"
    check = ReconstructionGate(import_scoring(ScoringFunctions(name)), "cpu")
    if cares:
        with pytest.raises(UserError, match="of held-out checkpoints answer"):
            checked(folder, out, check=check)
        return
    assert "answer 0 apart" in checked(folder, out, check=check).facts["Reconstruction"]
