"""From checkpoints that move along a line to networks that lie on it where they are asked to."""

import pytest
import torch
from torch import nn

from paramdiff.commands.fit import plan_fit
from paramdiff.errors import UserError
from paramdiff.evaluation.predictor import Predictions, Predictor
from paramdiff.evaluation.schema import Evaluation
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.runs.controllability import NUM_NETWORKS, measure_controllability
from paramdiff.runs.run import make_networks
from paramdiff.storage import read_json

NUM, LENGTH = 40, 12
SIDES = {"left": -1.0, "right": 1.0}
SETTINGS = (
    "diffusion.conditions=[step, run]",
    "diffusion.training.num_steps=500",
    "diffusion.training.lr=3e-3",
    "diffusion.training.ema_decay=0.98",
    "diffusion.denoiser.width=64",
    "generation.num_inference_steps=50",
    "generation.condition.step=30",
)


def direction():
    return torch.linspace(0.5, 1, LENGTH)


def across():
    """At a right angle to the direction."""
    return torch.cat([direction()[LENGTH // 2 :], -direction()[: LENGTH // 2]])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs, on either side of a line; the place along it is linear in the step."""
    folder = tmp_path_factory.mktemp("asking")
    torch.manual_seed(0)
    state = nn.Linear(LENGTH, 1).state_dict()
    for name, side in SIDES.items():
        (folder / "in" / name).mkdir(parents=True)
        for number in range(NUM):
            place = number / NUM * direction() + 0.5 * side * across()
            moved = {"weight": (place + 0.01 * torch.randn(LENGTH))[None], "bias": state["bias"]}
            torch.save(moved, folder / "in" / name / f"{number}.pt")
    plan = plan_fit(
        [str(folder / "in")],
        folder / "run",
        num_samples=4,
        device="cpu",
        overrides=[*SETTINGS, "collection.hold_out=spaced", "collection.num_held_out=8"],
    )
    return make_networks(plan.recipe, folder / "run", device="cpu")


@pytest.fixture(scope="module")
def pipeline(made):
    return ParameterDiffusionPipeline.from_pretrained(made.context.folder.pipeline)


def places(vectors):
    """Along the line in steps of a run, and across it."""
    along, aside = direction(), across()
    return (
        NUM * vectors[:, :LENGTH] @ along / along.square().sum(),
        2 * vectors[:, :LENGTH] @ aside / aside.square().sum(),
    )


def test_networks_lie_where_they_are_asked_to(made, pipeline):
    step, run = pipeline.conditions.known
    assert (step.name, run.name, run.labels) == ("step", "run", ("left", "right"))
    for label, side in SIDES.items():
        for wanted in (NUM * 0.2, NUM * 0.8):
            condition = {"step": wanted, "run": label}  # each run counts its own steps
            along, aside = places(pipeline(seeds=range(8), condition=condition).vectors)
            assert along.mean() == pytest.approx(wanted, abs=0.1 * NUM)
            assert aside.mean() == pytest.approx(side, abs=0.1)


def test_one_condition_alone_leaves_the_other_open(pipeline):
    along, aside = places(pipeline(seeds=range(16), condition={"run": "left"}).vectors)
    assert aside.mean() == pytest.approx(-1, abs=0.2)
    assert along.std() > 0.1 * NUM


def test_the_runs_own_networks_are_what_its_recipe_asks_for(made, pipeline):
    again = pipeline(seeds=range(4), condition={"step": 30})
    assert torch.equal(made.seed_runs[0].generated, again.vectors)
    card = (made.context.folder.root / "generated" / "README.md").read_text()
    assert "| Condition | `step=30`, guidance scale 1 |" in card
    card = (made.context.folder.pipeline / "README.md").read_text()
    assert f"- `step`: `0 to {NUM - 1}`\n- `run`: `left, right`\n" in card


def test_what_is_obtained_rises_with_what_is_requested(made, pipeline):
    def predict(vectors):
        scores = places(vectors)[0][:, None]  # the step that each would have, in either run
        return Predictions(scores, scores, None)

    predictor = Predictor(num_validation=1, num_test=1, predict=predict, predict_validation=None)
    found = measure_controllability(pipeline, predictor, made.zoo, num_levels=7, first_seed=7)
    assert list(found) == ["step"]  # a label has no order
    step, obtained = pipeline.conditions.known[0], found["step"]
    assert (obtained.n, obtained.low, obtained.high) == (NUM_NETWORKS, step.low, step.high)
    width = step.high - step.low
    shares = [(level.requested - step.low) / width for level in obtained.levels]
    assert shares == pytest.approx([-0.25, 0, 0.25, 0.5, 0.75, 1, 1.25])
    for level in obtained.levels[1:-1]:
        assert level.score == pytest.approx(level.requested, abs=0.05 * width)
        assert level.validation == level.score and 0 < level.dispersion < 1
    scores = [level.score for level in obtained.levels]
    assert scores == sorted(scores) and obtained.rank_correlation > 0.95
    assert measure_controllability(pipeline, predictor, made.zoo, num_levels=0, first_seed=7) == {}


def test_a_condition_that_no_checkpoint_differs_in_stops_before_training(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(6):
        torch.save({"w": torch.randn(64)}, tmp_path / "in" / f"{number}.pt")
    plan = plan_fit(
        [str(tmp_path / "in")],
        tmp_path / "run",
        num_samples=2,
        device="cpu",
        overrides=["diffusion.conditions=[run]", "diffusion.training.num_steps=5"],
    )
    with pytest.raises(UserError, match="run: the checkpoints must differ in it, but it is '0'"):
        make_networks(plan.recipe, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "pipeline" / "codec").exists()


def test_a_run_measures_what_is_obtained(tiny_paper_run):
    evaluation = Evaluation.model_validate(read_json(tiny_paper_run / "evaluation.json"))
    (obtained,) = evaluation.controllability.values()
    assert [level.requested for level in obtained.levels] == [-1.75, 14.75]  # 12 updates
    assert evaluation.facts["Conditions"] == "step; left out with probability 0.1"
    assert (
        "Controllability: requested and achieved" in (tiny_paper_run / "report.html").read_text()
    )


def test_an_unconditional_run_is_asked_for_nothing(tiny_run):
    content = read_json(tiny_run / "evaluation.json")
    assert content["controllability"] == {} and "Conditions" not in content["facts"]
