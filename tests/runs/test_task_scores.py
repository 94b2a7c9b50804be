"""Tasks with their own score, from collection to report."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from paramdiff import load_recipe, run
from paramdiff.commands.check import check_recipe
from paramdiff.errors import UserError
from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.inputs import EvaluationInputs
from paramdiff.report import style
from paramdiff.report.figures import ensemble_plot, frontier_plot
from paramdiff.runs.evaluation_stage import score_trajectory
from paramdiff.runs.predictors import build_predictor, untrained_vectors
from paramdiff.storage import read_json, read_tensors
from paramdiff.tasks.base import Scores
from paramdiff.tasks.classification import ClassificationTask
from paramdiff.tasks.registry import describe_task
from paramdiff.tasks.task_settings import TaskSettings
from paramdiff.zoo.zoo import Zoo
from tests.methods.contexts import MEMBERS
from tests.runs.inspecting import judged_folders
from tests.tasks.scored import r_squared, wrapped

from .test_predictors import split, zoo

CPU = torch.device("cpu")
DOCUMENT = Path(__file__).parents[2] / "docs" / "tasks.md"
TINY = [
    "collection.num_checkpoints=12",
    "collection.num_held_out=4",
    "diffusion.training.num_steps=20",
    "generation.num_samples=6",
    "generation.num_inference_steps=10",
    "evaluation.num_trajectories=1",
]
WHOLE = ["task.name=tests.tasks.scored:r_squared", "parameters.select=['4.*', '1.*']"]


@pytest.fixture(scope="module")
def documented(tmp_path_factory):
    """The example of the document, in a folder that is on the path."""
    folder = tmp_path_factory.mktemp("documented")
    blocks = re.findall(r"```\w+\n# (\w+\.\w+)\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    for name, text in blocks:
        (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture(scope="module")
def one_by_one(documented):
    """A finished run of the document's example, at tiny size; to be read only."""
    out = documented / "run"
    run(load_recipe(str(documented / "diabetes.yaml"), TINY), out, device="cpu")
    return out


@pytest.fixture(scope="module")
def undrawn():
    """Figures keep their words and lose their picture, which takes time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (style, ensemble_plot, frontier_plot):
            patch.setattr(module, "embed", lambda draw, size: "data:,")
        yield


@pytest.fixture(scope="module")
def whole_split(documented, one_by_one, undrawn):
    """A finished run of a task with one score per split, and with errors; to be read only."""
    out = documented / "whole"
    run(load_recipe(str(documented / "diabetes.yaml"), [*TINY, *WHOLE]), out, device="cpu")
    return out


def networks(task, folder, group):
    """The networks of a group as they lie in a run's folder."""
    base = read_tensors(folder / "zoo" / "base.safetensors")
    where = folder / "generated" if group == "generated" else folder / "zoo" / "checkpoints"
    for path in sorted(where.glob("*.safetensors")):
        network = task.build_network()
        network.load_state_dict(base | read_tensors(path))
        yield network.eval()


@torch.no_grad()
def test_the_documents_example_is_measured_example_by_example(one_by_one):
    import diabetes

    task = diabetes.regression(0)
    evaluation = read_json(one_by_one / "evaluation.json")
    assert evaluation["score_info"] == {
        "name": "minus squared error",
        "is_fraction": False,
        "is_per_example": True,
        "selects_on_test": False,
        "has_errors": False,
        "equivalence_margin": None,
    }
    found = evaluation["groups"]["generated"]
    means = [
        float(task.score(n, "test").values.mean()) for n in networks(task, one_by_one, "generated")
    ]
    assert found["n"] == len(means) == 6
    assert found["score"]["mean"] == pytest.approx(sum(means) / 6, rel=1e-5)
    assert found["score"]["max"] == pytest.approx(max(means), rel=1e-5)
    for group in evaluation["groups"].values():
        assert group["max_similarity"] is None and group["pairwise_similarity"] is None
    assert evaluation["groups"]["average@all"]["score"]["ci95"][0] < found["score"]["mean"]
    sentences = " ".join(evaluation["verdict"]["sentences"])
    assert "Novelty in behavior is not measured" in sentences
    assert "At matched dispersion, the strongest baseline is " in sentences
    reference = evaluation["verdict"]["reference"]
    assert reference == evaluation["frontier"]["dispersion"]["reference"]
    baseline = evaluation["groups"][reference]
    # at least as dispersed, up to the tolerance of pilots and their draw
    assert baseline["dispersion"] > 0.8 * found["dispersion"] and baseline["data_used"] == "none"
    assert evaluation["facts"]["Score"] == "minus squared error, higher is better"
    page = (one_by_one / "report.html").read_text()
    assert "minus squared error" in page and "accura" not in page.partition("</style>")[2]
    validation = [
        float(task.score(network, "validation").values.mean())
        for network in networks(task, one_by_one, "zoo")
    ]
    zoo_scores = read_json(one_by_one / "zoo" / "scores.json")["score"]
    assert list(zoo_scores.values()) == pytest.approx(validation, rel=1e-5)


@torch.no_grad()
def test_a_score_of_a_whole_split(whole_split):
    task = r_squared(0)
    evaluation = read_json(whole_split / "evaluation.json")
    assert (
        not evaluation["score_info"]["is_per_example"] and evaluation["score_info"]["has_errors"]
    )
    scores = [task.score(network, "test") for network in networks(task, whole_split, "generated")]
    groups = evaluation["groups"]
    assert groups["generated"]["n"] == len(scores) == 6
    expected = torch.cat([one.values for one in scores]).mean()
    assert groups["generated"]["score"]["mean"] == pytest.approx(float(expected), rel=1e-5)
    # networks alone are drawn: of a single one there is nothing to draw
    mean = groups["average@all"]["score"]["mean"]
    assert groups["average@all"]["score"]["ci95"] == pytest.approx([mean, mean])
    low, high = groups["original"]["score"]["ci95"]
    assert low < groups["original"]["score"]["mean"] < high
    wrong = torch.stack([one.wrong for one in scores]).float()
    both = wrong @ wrong.T
    iou = both / (wrong.sum(1)[:, None] + wrong.sum(1) - both)
    similarity = (iou.sum() - iou.diagonal().sum()) / 30
    assert groups["generated"]["pairwise_similarity"] == pytest.approx(float(similarity), rel=1e-5)
    assert evaluation["frontier"]["max_similarity"]["points"]
    assert "not that of test examples" in " ".join(evaluation["verdict"]["warnings"])
    page = (whole_split / "report.html").read_text()
    assert "Interval: bootstrap over networks alone." in page
    assert "covers the luck of the draw of networks, but not that of the examples" in page


def test_folders_of_networks_that_a_task_scores_itself(whole_split, tmp_path):
    task = TaskSettings(name="tests.tasks.scored:r_squared")
    found = judged_folders(whole_split / "zoo", whole_split / "generated", task, tmp_path / "out")
    expected = read_json(whole_split / "evaluation.json")["groups"]
    mean = expected["generated"]["score"]["mean"]
    assert found.groups["generated"].score.mean == pytest.approx(mean, rel=1e-6)
    assert found.groups["original"].score.max == expected["original"]["score"]["max"]


def test_its_sizes_are_told_and_its_cost_is_not(documented):
    recipe = load_recipe(str(documented / "diabetes.yaml"))
    facts = check_recipe(recipe, describe_task(recipe.task))
    assert facts["task"] == "diabetes: 242 training, 50 validation, 150 test examples"
    assert facts["network parameters"] == "193"
    assert facts["estimated cost"] == "unknown; the task has its own loss and score"


def test_new_statistics_are_refused_before_anything_runs(documented, tmp_path):
    recipe = load_recipe(
        str(documented / "diabetes.yaml"), ["evaluation.recalibrate_batchnorm=true"]
    )
    with pytest.raises(UserError, match=r"evaluation\.recalibrate_batchnorm: expected a classif"):
        run(recipe, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
    task = r_squared(0)
    with pytest.raises(UserError, match=r"evaluation\.recalibrate_batchnorm"):
        build_predictor(task, small_zoo(task), CPU, recalibrate=True)


# ---- the same networks, asked in two ways


class Network(torch.nn.Linear):
    """Of the points of ``test_behavior``."""

    def __init__(self):
        super().__init__(6, 3)


def points():
    return ClassificationTask("points", split(90, 0), split(60, 1), split(300, 2), Network)


def small_zoo(task, num=4):
    return zoo(task, num)


def judged(task, made: Zoo, generated, **fields):
    inputs = replace(
        EvaluationInputs.of(made, generated, title="points", facts={}),
        untrained=untrained_vectors(task, made.layout),
    )
    return evaluate(
        replace(
            inputs,
            hold_out="run",
            runs=torch.arange(len(made.originals)) % 2,
            held_out=made.originals[::2] + 0.1,
            held_out_runs=2 + torch.arange(len(made.originals[::2])),
        ),
        build_predictor(task, made, CPU),
        EvaluationSettings(),
    )


def test_a_wrapped_classification_task_is_measured_alike():
    """Fast scoring and one network after the other: the same groups, intervals and verdict."""
    task = points()
    made = zoo(task, 24)
    generated = made.originals.mean(0) + 0.7 * torch.randn(12, made.originals.shape[1])
    (fast, fast_arrays), (slow, slow_arrays) = (
        judged(one, made, generated) for one in (task, wrapped(task))
    )
    assert slow.groups == fast.groups and len(fast.groups) > 20
    assert slow.comparisons == fast.comparisons
    assert slow.frontier == fast.frontier and slow.best_of_n == fast.best_of_n
    assert slow.verdict.headline == fast.verdict.headline
    assert slow.verdict.sentences == fast.verdict.sentences
    assert (
        fast.score_info.equivalence_margin == 0.005 and slow.score_info.equivalence_margin is None
    )
    assert slow.score_info == fast.score_info.model_copy(update={"equivalence_margin": None})
    assert fast.groups["generated"].z_u is not None
    assert slow.ensembles == {} != fast.ensembles
    for name, array in slow_arrays.items():
        assert array.equal(fast_arrays[name]), name
    gone = {name.partition("/")[0] for name in fast_arrays.keys() - slow_arrays.keys()}
    assert gone == {"truth", "labels", "reliability"}


def test_a_network_without_a_score_names_its_group():
    task = points()
    made = zoo(task, 12)
    generated = made.originals[:6].clone()
    generated[4] = 3e38
    with pytest.raises(
        UserError, match=r"^group 'generated': parameter set 4: its .* are not finite"
    ):
        judged(task, made, generated)

    def score(network, split):
        scores = wrapped(task).score(network, split).values
        return Scores(torch.where(network.weight.max() > 1e38, torch.nan, scores))

    with pytest.raises(
        UserError, match=r"^group 'generated': parameter set 4: its .* are not finite"
    ):
        judged(replace(wrapped(task), score=score), made, generated)


def test_a_free_alternative_without_a_score_is_left_out():
    """Here networks with large values compute NaN; the evaluation goes on without them."""
    task = points()
    made = zoo(task, 12)
    widest = 1.02 * float(made.originals.abs().max())

    def score(network, split):
        scores = wrapped(task).score(network, split)
        is_lost = network.weight.abs().max() > widest
        return replace(scores, values=torch.where(is_lost, torch.nan, scores.values))

    evaluation, _ = judged(replace(wrapped(task), score=score), made, made.originals[:6] + 0.01)
    told = evaluation.facts["Left out"].split(", ")
    lost = {one.partition(" ")[0] for one in told if one.endswith("NaN or infinite values)")}
    assert lost and not lost & evaluation.groups.keys()
    assert {"average@all", "average@8", "interpolation", "generated"} <= evaluation.groups.keys()
    assert len(told) + len(evaluation.groups) >= len(MEMBERS) + 3


def test_states_on_the_way_that_have_no_score_are_not_drawn():
    class Process:
        """Stands for a reverse process; the first states are far from any network."""

        def trajectory(self, seeds, num_inference_steps, every, condition):
            states = torch.stack([torch.full((1, 21), 3e38), torch.zeros(1, 21)])
            return type("Found", (), {"states": states, "timesteps": torch.tensor([9, 0])})

    task = points()
    predictor = build_predictor(task, zoo(task), CPU)
    assert score_trajectory(Process(), predictor, [0], 10) == {}
