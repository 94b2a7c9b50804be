"""Short trainings go down hill, see exactly the examples that they are given, and change nothing.

The networks are linear classifiers, so that the loss is convex and gradients are known.
"""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from paramdiff.errors import NotFiniteError
from paramdiff.methods.finetuning import drawn_batches, fine_tuned
from paramdiff.parameters.normalization import Normalization, fit_normalization
from tests.evaluation.linear import LAYOUT, SIZE, good, training
from tests.methods.contexts import LAYOUT as MIXED
from tests.methods.contexts import raw_originals


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def plain(size):
    return Normalization(torch.zeros(size), torch.ones(size), torch.zeros(size))


@pytest.mark.parametrize("num_drawn", [1, 63, 64, 200, 450])
def test_batches_are_passes_cut_into_exactly_as_many_rows(num_drawn):
    batches = drawn_batches(200, num_drawn, generator())
    rows = torch.cat(batches)
    assert len(rows) == num_drawn
    assert [len(batch) for batch in batches[:-1]] == [64] * (len(batches) - 1)
    for one_pass in rows.split(200):
        assert len(one_pass.unique()) == len(one_pass)
    assert not rows[:200].equal(rows[:200].sort().values) or num_drawn == 1


def test_the_update_is_adams():
    """Against torch's own, on the raw values where the normalization changes none."""
    examples, batches = training(), drawn_batches(300, 640, generator())
    found = list(
        fine_tuned(good(1, 5)[0], batches, examples.label_loss, plain(SIZE), 0.02, decays=False)
    )
    vector = good(1, 5)[0].requires_grad_()
    adam = torch.optim.Adam([vector], lr=0.02)
    for rows, after in zip(batches, found, strict=True):
        adam.zero_grad()
        F.cross_entropy(examples.logits(vector, rows), examples.labels[rows]).backward()
        adam.step()
        torch.testing.assert_close(after, vector.detach())


def test_a_decaying_rate_ends_at_nothing():
    examples, batches = training(), drawn_batches(300, 6400, generator())
    start = torch.zeros(SIZE)
    made = torch.stack(
        list(fine_tuned(start, batches, examples.label_loss, plain(SIZE), 0.02, decays=True))
    )
    steps = made.diff(dim=0).norm(dim=1)
    assert steps[-1] < 0.01 * steps[:10].mean()
    assert start.eq(0).all()


def test_variances_stay_positive():
    """A gradient that pushes a variance far below zero."""
    normalization = fit_normalization(raw_originals(), MIXED)
    is_variance = normalization.reference > 0
    *_, last = fine_tuned(
        raw_originals()[0],
        [torch.arange(2)] * 50,
        lambda vector, rows: vector[is_variance].sum(),
        normalization,
        1.0,
        decays=False,
    )
    assert (last[is_variance] > 0).all()
    assert (last[is_variance] < 0.1 * raw_originals()[0][is_variance]).all()


def test_answers_of_others_teach_without_labels():
    """Each draw is the cross-entropy of one teacher's predictions, all equally often."""
    examples = training()
    blind = replace(examples, labels=examples.labels.flip(0))
    teachers, vector, rows = good(2, 1, spread=0.5), good(1, 2)[0], torch.arange(20)
    loss = blind.distillation_loss(teachers, generator(1))
    found = torch.stack([loss(vector, rows) for _ in range(100)])
    logs = examples.logits(vector, rows).log_softmax(1)
    expected = torch.stack(
        [-(examples.logits(t, rows).softmax(1) * logs).sum(1).mean() for t in teachers]
    )
    nearest = (found[:, None] - expected).abs().min(1)
    assert nearest.values.max() < 1e-6
    assert 35 <= int(nearest.indices.sum()) <= 65


def test_a_loss_that_is_no_number_is_told():
    normalization = fit_normalization(good(5, 1), LAYOUT)
    with pytest.raises(NotFiniteError, match="the loss of update 0 is nan"):
        next(
            fine_tuned(
                good(1, 2)[0],
                [torch.arange(3)],
                lambda vector, rows: vector.sum() * torch.nan,
                normalization,
                0.1,
                decays=False,
            )
        )
