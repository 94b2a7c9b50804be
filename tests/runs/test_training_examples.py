"""A run whose codec learns from training data: asked as the network would be, and said so."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from paramdiff import ParameterDiffusionPipeline, load_recipe, run
from paramdiff.commands.check import check_recipe
from paramdiff.commands.generate import generate
from paramdiff.errors import UserError
from paramdiff.methods.data_use import DataBudget, DataUse
from paramdiff.parameters.space import ParameterSpace
from paramdiff.recipe.description import data_budget
from paramdiff.runs.stages import training_examples
from paramdiff.tasks.registry import build_task, describe_task
from paramdiff.tasks.task_settings import TaskSettings
from paramdiff.zoo.zoo import Zoo
from tests.runs.inspecting import judged_folders

BEHAVIOUR = [
    "codec={kind: behavioral, explained_variance: 0.9, width: 16, behavior: {num_networks: 3, "
    "training: {num_steps: 30, batch_size: 20, lr: 5.0e-3}}}"
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("behaving") / "run"
    return folder, run(load_recipe("quickstart", [*tiny, *BEHAVIOUR]), folder, device="cpu")


def test_the_run_says_what_its_codec_saw_and_has_rivals_that_saw_as_much(finished, tiny):
    _, evaluation = finished
    assert data_budget(load_recipe("quickstart", [*tiny, *BEHAVIOUR])) == DataBudget(
        30 * 20 * 3, "labels"
    )
    assert evaluation.groups["generated"].data.images_seen == 1800
    trained = [name for name, group in evaluation.groups.items() if group.data.images_seen]
    assert {"generated", "reconstructed"} < set(trained)
    assert len(trained) > 2
    assert data_budget(load_recipe("quickstart", tiny)) is None


@pytest.mark.usefixtures("without_figures")
def test_who_judges_its_networks_elsewhere_learns_what_they_were_made_with(finished, tmp_path):
    folder, _ = finished
    generate(str(folder / "pipeline"), tmp_path / "new", num_samples=4, seed=0)
    card = (tmp_path / "new" / "README.md").read_text()
    assert "| Training data | labels of 1,800 training examples |" in card
    task = TaskSettings(name="digits")
    evaluation = judged_folders(folder / "zoo", tmp_path / "new", task, tmp_path / "out")
    assert evaluation.groups["generated"].data == DataUse("labels", "training", 1800)
    assert evaluation.groups["fine_tuned_average"].data.images_seen == 1800
    told = evaluation.facts["Task data in what is judged"]
    assert told == "labels of 1,800 training examples"


def test_the_pipeline_draws_what_the_correction_was_trained_on(finished):
    folder, _ = finished
    pipeline = ParameterDiffusionPipeline.from_pretrained(folder / "pipeline")
    codec = pipeline.codec
    latents = torch.randn(4, codec.latent_dim, generator=torch.Generator().manual_seed(0))
    assert codec.correction(latents).abs().max() > 1e-4
    torch.testing.assert_close(
        codec.decode(latents), codec.mean + latents @ codec.components + codec.correction(latents)
    )
    zoo = Zoo.load(folder / "zoo")
    encoded = codec.encode(pipeline.parameter_space.normalize(zoo.originals))
    torch.testing.assert_close(encoded.std(0), torch.ones(codec.latent_dim))


def test_examples_are_asked_as_the_network_would_be(finished, tiny):
    folder, _ = finished
    zoo = Zoo.load(folder / "zoo")
    task = build_task(load_recipe("quickstart", tiny).task)
    space = ParameterSpace.fit(zoo.originals, zoo.layout, zoo.base)
    examples = training_examples(task, space, torch.device("cpu"))
    rows = torch.tensor([5, 0, 2])
    network: nn.Module = task.build_network().eval()
    network.load_state_dict(zoo.base)
    own = zoo.layout.unflatten(zoo.originals[1])
    torch.testing.assert_close(
        examples.logits(space.normalize(zoo.originals[1]), rows),
        functional_call(network, own, (task.train.inputs[rows],)),
        rtol=1e-4,
        atol=1e-4,
    )
    assert torch.equal(examples.labels, task.train.labels)


def test_a_task_without_classes_is_refused_before_anything_is_made():
    recipe = load_recipe("other/ddpm_unet", BEHAVIOUR)
    with pytest.raises(UserError, match=r"codec\.behavior: this needs a classification task"):
        check_recipe(recipe, describe_task(recipe.task))
