"""The benchmark against the authors' code counts right; with their checkout, it runs."""

import json
import os
from pathlib import Path

import pytest
import torch
from benchmarks.contest import Clock, GenerationTimes, Size, between, make_zoo
from benchmarks.quality import PAPER, compare_quality
from benchmarks.reference import (
    Blocks,
    generation_seconds,
    main,
    measure,
    share_of_peak,
    take_turns,
    training_seconds,
)
from benchmarks.sides import Reference

from paramdiff.recipe.schema import load_recipe

CHECKOUT = "PARAMDIFF_REFERENCE"
CLOCK = Clock(torch.device("cpu"), 1)
TINY = Size(64, 16, "main/cifar100_resnet18")


def test_a_busy_round_moves_neither_the_ratio_nor_the_times():
    quiet, busy = (1.0, 2.0), (40.0, 80.0)
    blocks = Blocks(*zip(quiet, busy, quiet, strict=True))
    assert blocks.ratio == 0.5
    assert blocks.seconds == (1.0, 2.0)


def test_both_sides_begin_equally_often():
    order = []

    def block(side):
        order.append(side)
        return [1.0, 3.0, 200.0]

    blocks = take_turns(lambda: block("ours"), lambda: block("theirs"), 4)
    assert order == ["ours", "theirs", "theirs", "ours"] * 2
    assert blocks == Blocks((3.0,) * 4, (3.0,) * 4)


def test_training_is_extrapolated_to_all_published_updates():
    assert training_seconds(2.0, 3.0, TINY.settings("paper", "float32")) == 2 * 501 + 3 * 1001
    assert training_seconds(2.0, 3.0, TINY.settings("default", "float32")) == 2 + 3 * 3000


def test_two_hundred_networks_are_whole_batches():
    one_by_one, together = GenerationTimes(1, 0.004, 0.5), GenerationTimes(64, 0.2, 1.0)
    assert generation_seconds(one_by_one, 1000) == pytest.approx(200 * (1000 * 0.004 + 0.5))
    assert generation_seconds(together, 50) == pytest.approx(4 * (50 * 0.2 + 1))


def test_share_of_peak():
    assert share_of_peak(operations=30.0, seconds=2.0, peak=60.0) == 0.25
    assert between([1.0, 4.0, 9.0]) == [3.0, 5.0]


def test_zoo_is_a_trajectory_of_the_size_asked_for():
    vectors, space = make_zoo(Size(100, 16, TINY.recipe))
    assert vectors.shape == (300, 128)
    assert not vectors[:, 100:].any() and space.num_parameters == 100
    steps = (vectors[1:] - vectors[:-1]).norm(dim=1)
    assert (vectors[-1] - vectors[0]).norm() > 2 * steps.mean()


def test_a_folder_that_is_no_checkout_is_refused(tmp_path, capsys):
    assert main(["--reference", str(tmp_path)]) == 2
    assert "model/pdiff.py" in capsys.readouterr().err


@pytest.fixture
def reference():
    if CHECKOUT not in os.environ:
        pytest.skip(f"{CHECKOUT} names no checkout of the authors' repository")
    return Reference(Path(os.environ[CHECKOUT]))


@pytest.mark.slow
def test_both_sides_do_the_work(reference):
    found = json.loads(json.dumps(measure(TINY, "float32", reference, CLOCK, 1)))
    for part in ("codec", "denoiser"):
        update = found[f"{part}_update"]
        assert update["ratio"] == pytest.approx(update["ours"] / update["theirs"])
        assert all(0 < share < 2 for share in update["share_of_peak"])
    for kind in ("training", "generating_200"):
        assert found[kind]["default"] < found[kind]["theirs"]
    assert found["zoo_to_200"]["ours"] == pytest.approx(
        found["training"]["ours"] + found["generating_200"]["ours"]
    )


@pytest.mark.slow
def test_both_sides_learn_from_one_zoo(reference, tiny):
    recipes = (
        load_recipe("quickstart", [*changes, "diffusion.schedule.num_timesteps=60"])
        for changes in (
            [*PAPER, *tiny, "codec.training.num_steps=8"],
            tiny,
        )
    )
    rows = compare_quality(*recipes, reference, CLOCK, 2)
    groups = [row["group"] for row in rows]
    assert (
        groups[:2] == ["originals", "theirs, 1000 ddpm steps"]
        and len(groups) == len(set(groups)) == 8
    )
    assert rows[0]["dispersion"] == pytest.approx(1) and rows[0]["networks"] == 12
    for row in rows:
        assert 0 <= row["accuracy"] <= 1 and 0 <= row["max_similarity"] <= 1
