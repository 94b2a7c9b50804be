"""Scores by users' functions: what selects, what is reported, and what is refused."""

import pytest
import torch

from paramdiff.commands.task_choice import choose_task, open_task
from paramdiff.errors import UserError
from paramdiff.tasks.user_task import ScoringFunctions, import_scoring

STATE = {"w": torch.tensor([0.5, -1.0, 2.0])}


def number(state_dict):
    return state_dict["w"].sum()


def of_split(state_dict, split="test"):
    return number(state_dict) + {"validation": 10, "test": 0}[split]


def by_name(state_dict, *, split):
    return of_split(state_dict, split)


def right(state_dict):
    return state_dict["w"] > 0


def right_of_split(state_dict, split):
    return right(state_dict)[: 2 if split == "validation" else None]


def one_right(state_dict):
    return state_dict["w"][:1] > 0


class Scorer:
    def __call__(self, state_dict):
        return number(state_dict)


scorer = Scorer()


def changes(state_dict):
    return float(state_dict["w"].mul_(2).sum())


def two(state_dict, network):
    return 0


def fails(state_dict):
    return state_dict["missing"]


def named(*functions):
    return ScoringFunctions(*(f"{__name__}:{one}" for one in functions))


def scores(*functions):
    task = import_scoring(named(*functions))(STATE)
    network = task.build_network()
    return task, *(task.score(network, split).values.tolist() for split in ("validation", "test"))


@pytest.mark.parametrize("name", ["number", "right", "scorer"])
def test_without_a_split_the_same_scores_select(name):
    task, validation, test = scores(name)
    assert task.selects_on_test and validation == test
    assert "the same data select networks and are reported" in task.data_in_words


@pytest.mark.parametrize("name", ["of_split", "by_name"])
def test_a_function_with_a_split(name):
    task, validation, test = scores(name)
    assert not task.selects_on_test and (validation, test) == ([11.5], [1.5])


def test_a_function_with_a_split_of_what_is_right():
    task, validation, test = scores("right_of_split")
    assert not task.selects_on_test and task.is_fraction
    assert (validation, test) == ([True, False], [True, False, True])
    assert (task.num_validation, task.num_test) == (2, 3)


def test_a_second_function_for_validation():
    task, validation, test = scores("number", "scorer")
    assert not task.selects_on_test and validation == test == [1.5]
    assert "scorer on validation data" in task.data_in_words


@pytest.mark.parametrize(
    ("functions", "found"),
    [
        (("two",), r"a function \(state_dict\) or \(state_dict, split\), found two\("),
        (("Scorer",), "but is a class"),
        (("fails",), r"failed: KeyError: 'missing' \(.*test_scoring_function.py:\d+\); it was"),
        (("of_split", "number"), "has an argument 'split'"),
        (("number", "two"), "^--score-validation: "),
        (("number", "fails"), "^--score-validation: "),
        (("number", "right"), "^--score-validation: .* of one kind"),
    ],
)
def test_what_is_refused(functions, found):
    with pytest.raises(UserError, match=found):
        import_scoring(named(*functions))(STATE)


def test_a_function_may_change_what_it_is_given():
    task, _, test = scores("changes")
    assert test == [3.0] and STATE["w"].sum() == 1.5
    assert task.score(task.build_network(), "test").values.tolist() == test


def test_options_that_do_not_go_together():
    with pytest.raises(UserError, match="--score-validation: expected --score-fn beside it"):
        choose_task(task="digits", score_validation="a:b")
    with pytest.raises(UserError, match="--standardize: "):
        choose_task(score_fn="a:b", standardize=True)
    both = choose_task(score_fn=f"{__name__}:number", score_validation=f"{__name__}:number")
    assert not open_task(both)(STATE).selects_on_test
