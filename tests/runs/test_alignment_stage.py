"""A run on independent networks: aligned once, told about, and refused where it cannot be."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from paramdiff import load_recipe, run
from paramdiff.commands.check import check_recipe
from paramdiff.errors import UserError
from paramdiff.networks.small import DigitsNetwork
from paramdiff.runs.alignment_stage import alignment_facts
from paramdiff.runs.copy_stages import shared_stages
from paramdiff.runs.folder import RunFolder
from paramdiff.runs.run import make_networks, warn_if_unordered
from paramdiff.tasks.registry import describe_task
from paramdiff.zoo.zoo import Zoo
from tests.permutation.networks import outputs

INDEPENDENT = [
    "collection.independent_runs=true",
    "collection.num_runs=5",
    "collection.num_checkpoints=4",
    "collection.num_held_out=2",
    "parameters.select=['*']",
    "parameters.align=true",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("aligned") / "run"
    return make_networks(load_recipe("quickstart", [*tiny, *INDEPENDENT]), folder, device="cpu")


def test_the_aligned_zoo_answers_as_the_zoo_did(made):
    folder = made.context.folder.root
    zoo, aligned = Zoo.load(folder / "zoo"), Zoo.load(folder / "aligned")
    assert aligned.layout == zoo.layout
    assert [one.run for one in aligned.index.checkpoints] == [0, 1, 2, 3, 4, 4]
    network, images = DigitsNetwork(), torch.randn(3, 1, 8, 8)
    for name in ("originals", "held_out"):
        for before, after in zip(getattr(zoo, name), getattr(aligned, name), strict=True):
            assert torch.equal(before.sort().values, after.sort().values)  # nothing but places
            expected = outputs(network, before, images)
            tolerance = 1e-5 * float(expected.abs().max())
            found = outputs(network, after, images)
            torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
        assert not torch.equal(getattr(zoo, name), getattr(aligned, name))
    assert torch.equal(made.zoo.originals, aligned.originals)  # what the generator learns from
    told = alignment_facts(made.context)["Alignment"]
    assert told.startswith("3 groups of channels; variance about the mean ")
    assert "; validation score of the average 0." in told
    assert "alignment" in {record["stage"] for record in made.context.folder.log.records()}


def test_independent_runs_are_told_before_training(made, tiny, tmp_path):
    root = made.context.folder.root
    recipe = load_recipe("quickstart", [*tiny, *INDEPENDENT, "parameters.align=false"])
    stages = []
    with pytest.warns(UserWarning, match=r"parameters\.align brings them into one order"):
        with pytest.raises(KeyboardInterrupt):
            make_networks(
                recipe, tmp_path / "run", device="cpu", reuse=root, progress=stops(stages)
            )
    assert stages == ["training the denoiser"]


def stops(stages):
    """Ends the run at the first stage that reports."""

    def progress(stage, done, total, note=""):
        stages.append(stage)
        raise KeyboardInterrupt

    return progress


def test_a_part_of_a_network_has_no_order(made):
    """Beside a tensor that is not selected; nor is anything told that is too late."""
    zoo = Zoo.load(made.context.folder.root / "zoo")
    recipe = load_recipe("quickstart", INDEPENDENT[:-1])
    early = replace(made.context, recipe=recipe, folder=RunFolder(Path("nowhere")))
    with pytest.warns(UserWarning, match=r"parameters\.align"):
        warn_if_unordered(early, zoo)
    partial = replace(zoo, base={**zoo.base, "frozen.weight": torch.ones(2)})
    warn_if_unordered(early, partial)
    warn_if_unordered(replace(early, folder=made.context.folder), zoo)
    warn_if_unordered(replace(early, recipe=recipe.model_copy(update={"task": None})), zoo)


def test_another_run_takes_the_aligned_zoo_over(made, tiny):
    folder = made.context.folder
    recipe = load_recipe("quickstart", [*tiny, *INDEPENDENT, "codec.explained_variance=0.5"])
    assert shared_stages(folder, recipe) == ["zoo", "alignment", "parameter space"]
    unaligned = load_recipe("quickstart", [*tiny, *INDEPENDENT, "parameters.align=false"])
    assert shared_stages(folder, unaligned) == ["zoo"]


def test_where_nothing_is_aligned_nothing_is_missed(tiny_run, tiny):
    recipe = load_recipe("quickstart", [*tiny, "generation.num_samples=5"])
    assert shared_stages(RunFolder(tiny_run), recipe) == [
        "zoo",
        "parameter space",
        "codec",
        "denoiser",
    ]


@pytest.mark.slow
def test_the_report_of_an_aligned_run_does_not_advise_aligning(made, tiny):
    recipe = load_recipe("quickstart", [*tiny, *INDEPENDENT])
    evaluation = run(recipe, made.context.folder.root, device="cpu")
    assert not any("parameters.align" in warning for warning in evaluation.verdict.warnings)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "task.network={name: 'tests.permutation.networks:ranking'}",
            "cannot be traced through 'sort'",
        ),
        ("parameters.select=['conv*']", r"'norm1\.weight' is not selected"),
    ],
)
def test_what_cannot_be_aligned_is_refused_before_anything_is_written(tmp_path, override, message):
    recipe = load_recipe(
        "quickstart", ["parameters.align=true", "parameters.select=['*']", override]
    )
    with pytest.raises(UserError, match=message):
        check_recipe(recipe, describe_task(recipe.task))
    with pytest.raises(UserError, match=message):
        run(recipe, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
