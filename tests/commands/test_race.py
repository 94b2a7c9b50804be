"""Without generated networks, all methods race, and the winner can be made."""

import shlex

import pytest
import torch

from paramdiff.checkpoints.sources import find_runs
from paramdiff.commands.compare import compare
from paramdiff.commands.make import make
from paramdiff.errors import UserError
from paramdiff.evaluation.evaluation_file import read_evaluation
from paramdiff.evaluation.race import NUM_RACED
from tests.commands.folders import score, train

SCORE = "tests.commands.folders:score"
ALONE = "tests.commands.folders:score_alone"
pytestmark = pytest.mark.filterwarnings("ignore:.*BatchNorm statistics are made like")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return train(tmp_path_factory.mktemp("race") / "run")


@pytest.fixture(scope="module")
def compared(folder):
    out = folder.parent / "out"
    return out, compare(folder, out, score_fn=SCORE, num_compared=12, write_best=True)


def states(folder):
    return [stored.read()[0] for run in find_runs([str(folder)]) for stored in run]


def test_every_method_takes_part_at_equal_counts(compared):
    _, evaluation = compared
    ranking = evaluation.ranking
    groups = evaluation.groups
    assert "generated" not in groups and {"average@all", "swag@1.0", "mixture@1.0"} <= set(groups)
    for name in ranking.finalists:
        assert groups[name].n == 12, name
    several = {groups[name].n for name in groups if groups[name].n > 1} - {12, len(groups)}
    assert several <= {NUM_RACED, groups["original"].n, 2}
    assert read_evaluation(compared[0] / "evaluation.json") == evaluation


def test_winners_are_first_on_validation_data(compared):
    _, evaluation = compared
    single = evaluation.ranking.single
    values = [one.value for one in single.candidates]
    assert values == sorted(values, reverse=True)
    assert values[0] == {one.group: one.value for one in single.candidates}[single.winner]
    assert all(evaluation.groups[one.group].n == 1 for one in single.candidates)
    assert evaluation.ranking.ensemble is None  # a score is no class probability


def test_the_command_makes_the_network_that_was_judged(compared, folder, tmp_path):
    out, evaluation = compared
    single = evaluation.ranking.single
    words = shlex.split(single.command)
    assert words[:3] == ["paramdiff", "make", single.winner] and "--score-fn" in words
    made = make(single.winner, folder, tmp_path / "best", score_fn=SCORE)
    (state,) = states(made.folder)
    (written,) = states(out / "best")
    assert all(torch.equal(state[name], written[name]) for name in state)
    judged = evaluation.groups[single.winner].score.mean
    assert score(state, "test") == pytest.approx(judged, abs=1e-6)


def test_networks_of_several_are_those_that_were_judged(compared, folder, tmp_path):
    _, evaluation = compared
    name = next(one for one in evaluation.ranking.finalists if "swag" in one or "kde" in one)
    made = make(name, folder, tmp_path / "several", num_samples=12)
    scores = [score(state, "test") for state in states(made.folder)]
    judged = evaluation.groups[name].score
    assert sum(scores) / len(scores) == pytest.approx(judged.mean, abs=1e-6)


def test_the_page_shows_winner_and_command(compared):
    out, evaluation = compared
    text = (out / "report.html").read_text()
    assert "What to make" in text and evaluation.ranking.single.command.split("--out")[0] in text
    assert "Generated minus" not in text and "<em>generated</em>" not in text


def test_networks_of_the_user_take_part(folder, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    last = states(folder)[-1]
    torch.save(last, mine / "0.pt")
    evaluation = compare(
        folder, tmp_path / "out", score_fn=SCORE, samples={"mine": mine}, num_compared=4
    )
    assert evaluation.groups["mine"].n == 1
    found = {one.group: one.value for one in evaluation.ranking.single.candidates}
    assert found["mine"] == pytest.approx(score(last, "validation"), abs=1e-6)


def test_one_score_chooses_nothing_by_validation_and_says_so(folder, tmp_path):
    evaluation = compare(folder, tmp_path / "out", score_fn=ALONE, num_compared=4)
    assert "greedy_soup" not in evaluation.groups
    words = " ".join((evaluation.verdict.headline, *evaluation.verdict.sentences))
    assert "test data" not in words and "validation" not in words
    assert any("Selected and scored on the same data" in w for w in evaluation.verdict.warnings)


def test_full_makes_as_many_of_every_method(folder, tmp_path):
    evaluation = compare(folder, tmp_path / "out", score_fn=SCORE, num_compared=11, full=True)
    assert evaluation.groups["noise@0.15"].n == evaluation.groups["gaussian@0.25"].n == 11


@pytest.mark.slow
def test_classes_are_judged_as_ensembles(tiny_run, tmp_path):
    evaluation = compare(tiny_run, tmp_path / "out", task="digits", num_compared=12, device="cpu")
    answer = evaluation.ranking.ensemble
    assert answer.members <= NUM_RACED
    values = [one.value for one in answer.candidates]
    assert values == sorted(values)
    assert (answer.winner == "original") == (answer.ensembles is None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"copy_best": 2}, "--copy-best"),
        ({"num_held_out": 2}, "--num-held-out"),
        ({"samples": {"swag": "x"}}, "choose another name"),
        ({"samples": {"a b": "x"}}, "choose another name"),
        ({"generated": "x", "write_best": True}, "--write-best"),
        ({"generated": "x", "with_diffusion": True}, "--with-diffusion"),
    ],
)
def test_options_that_have_no_meaning_are_refused(folder, tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        compare(folder, tmp_path / "out", score_fn=SCORE, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_last_step_is_no_part_of_a_methods_lead(tiny_run, tmp_path):
    """Where statistics are re-estimated, what lies there has them re-estimated, too."""
    from paramdiff.recipe.schema import load_recipe
    from paramdiff.tasks.registry import build_task

    recipe = load_recipe(tiny_run / "recipe.yaml")
    state = build_task(recipe.task).build_network().state_dict()
    folder = tmp_path / "ck"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for step in range(6):
        moved = {
            name: one + 0.01 * torch.randn(one.shape, generator=generator)
            if one.is_floating_point() and "running" not in name
            else one
            for name, one in state.items()
        }
        moved |= {name: one + 9 for name, one in moved.items() if "running_mean" in name}
        torch.save(moved, folder / f"step{step}.pt")
    evaluation = compare(folder, tmp_path / "out", task="digits", num_compared=4, device="cpu")
    assert {"original+bn", "last_checkpoint+bn"} <= evaluation.groups.keys()
    for answer in (evaluation.ranking.single, evaluation.ranking.ensemble):
        assert answer.winner.endswith("+bn") == answer.reference.endswith("+bn")
