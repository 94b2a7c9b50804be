"""The plan of a collection: runs, and the updates after which checkpoints are kept."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from paramdiff.errors import UserError
from paramdiff.zoo.plan import plan_of, run_seed

from .collecting import settings

NUM_EXAMPLES = 50  # 4 updates of at most 16 make a pass


def steps_of(**kwargs):
    return [run.steps for run in plan_of(settings(**kwargs), NUM_EXAMPLES).runs]


def test_every_update_is_kept_by_default():
    assert steps_of() == [(1, 2, 3, 4, 5, 6, 7)]


def test_the_first_updates_of_each_pass_keep_none():
    assert steps_of(skip_steps_per_epoch=1) == [(2, 3, 4, 6, 7, 8, 10)]
    assert steps_of(skip_steps_per_epoch=2) == [(3, 4, 7, 8, 11, 12, 15)]
    assert steps_of(skip_steps_per_epoch=1, skip_steps=5) == [(6, 7, 8, 10, 11, 12, 14)]
    assert steps_of(skip_steps_per_epoch=1, save_every_steps=3) == [(3, 6, 12, 15, 18, 24, 27)]


def test_imagenets_interval():
    """Every 33rd of the 10,010 updates of a pass: 300 checkpoints over 9,900 updates."""
    one = settings(num_checkpoints=300, num_held_out=0, save_every_steps=33)
    (run,) = plan_of(one, 10_010 * 16).runs
    assert (len(run.steps), run.steps[0], run.steps[-1]) == (300, 33, 9900)


@given(
    runs=st.sampled_from([(1, 1), (2, 1), (3, 1), (3, 2), (4, 1), (4, 3)]),
    num_checkpoints=st.integers(3, 20),
    num_held_out=st.integers(3, 5),
    skip_steps=st.integers(0, 9),
    skip_steps_per_epoch=st.integers(0, 5),
    save_every_steps=st.integers(1, 9),
    batch_size=st.integers(8, 60),
)
def test_a_plan_keeps_what_was_asked_for_or_is_refused(runs, batch_size, **kwargs):
    kwargs |= {"num_runs": runs[0], "num_held_out_runs": runs[1]}
    wanted = settings(fine_tuning={"batch_size": batch_size}, **kwargs)
    steps_per_epoch = math.ceil(NUM_EXAMPLES / batch_size)
    every, skip = kwargs["save_every_steps"], kwargs["skip_steps"]
    eligible = [
        step
        for step in range(1, 4000)
        if step > skip
        and (step - skip) % every == 0
        and (step - 1) % steps_per_epoch >= kwargs["skip_steps_per_epoch"]
    ]
    if not eligible:
        with pytest.raises(
            UserError, match=r"collection\.skip_steps_per_epoch: .* leaves no checkpoint"
        ):
            plan_of(wanted, NUM_EXAMPLES)
        return
    plan = plan_of(wanted, NUM_EXAMPLES)
    assert len(plan.runs) == kwargs["num_runs"]
    counts = [len(run.steps) for run in plan.runs]
    assert sum(counts) == kwargs["num_checkpoints"] + kwargs["num_held_out"]
    if kwargs["num_runs"] > 1:
        learning = kwargs["num_runs"] - kwargs["num_held_out_runs"]
        assert sum(counts[learning:]) == kwargs["num_held_out"]
        for shares in (counts[:learning], counts[learning:]):
            assert max(shares) - min(shares) <= 1
    for run in plan.runs:
        assert run.steps == tuple(eligible[: len(run.steps)])


def test_seeds_of_independent_runs_differ_and_the_first_is_the_recipes():
    seeds = [run_seed(7, number) for number in range(50)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 50


def test_some_run_is_learned_from():
    with pytest.raises(ValidationError, match="num_held_out_runs: 3 of 3 runs"):
        settings(num_runs=3, num_held_out_runs=3)


def test_independent_runs_need_pretraining():
    with pytest.raises(ValidationError, match="independent_runs: requires pretraining"):
        settings(num_runs=2, independent_runs=True, pretraining=None)
