"""Points between a base network and the average, against closed forms."""

import pytest
import torch

from paramdiff.methods.combinations import stock_ratio
from paramdiff.methods.from_base import MODEL_STOCK, TASK_ARITHMETIC, WISE_FT

from .contexts import LAYOUT, built, context, generator, raw_originals


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_wise_ft_lies_on_the_line(share):
    given = context()
    expected = (1 - share) * given.base + share * given.raw.double().mean(0).float()
    torch.testing.assert_close(built(WISE_FT.at(share), given).raw[0], expected)


def test_task_arithmetic_adds_the_mean_task_vector():
    given = context()
    found = given.normalization.invert(built(TASK_ARITHMETIC.at(1.5), given).vectors)[0]
    mean = given.raw.mean(0)
    for slot in LAYOUT.slots:
        place = slice(slot.start, slot.stop)
        expected = given.base[place] + 1.5 * (mean - given.base)[place]
        if slot.is_running_variance:
            expected = given.base[place] * (mean[place] / given.base[place]) ** 1.5
            assert found[place].min() > 0
        torch.testing.assert_close(found[place], expected, rtol=1e-2, atol=1e-2)


def test_task_arithmetic_of_one_is_the_average():
    given = context()
    found = given.normalization.invert(built(TASK_ARITHMETIC.at(1.0), given).vectors)[0]
    torch.testing.assert_close(found, given.raw.mean(0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("num", [2, 5])
def test_a_model_stock_is_the_point_nearest_to_the_true_center(num):
    """Jang et al. 2024: originals about a center at equal distances in orthogonal directions.
    The foot of the perpendicular from the center on the line from base to average."""
    center = torch.zeros(20)
    center[0] = 3.0
    noise = 2.0 * torch.eye(20)[1 : num + 1]
    vectors = center + noise
    cosine = 9 / (9 + 4)
    expected = num * cosine / (1 + (num - 1) * cosine)
    ratio = stock_ratio((vectors @ vectors.T).double())
    assert ratio == pytest.approx(expected)
    mean = vectors.mean(0)
    assert ratio == pytest.approx(float(center @ mean / (mean @ mean)))


def test_a_model_stock_has_a_ratio_per_tensor():
    given = context()
    found = built(MODEL_STOCK.at(None), given).raw[0]
    for slot in LAYOUT.slots:
        place = slice(slot.start, slot.stop)
        task = (given.raw - given.base)[:, place].double()
        unit = task / task.norm(dim=1, keepdim=True)
        pairs = torch.combinations(torch.arange(len(task)))
        cosine = float((unit[pairs[:, 0]] * unit[pairs[:, 1]]).sum(1).mean().clamp(0, 1))
        ratio = len(task) * cosine / (1 + (len(task) - 1) * cosine)
        expected = (1 - ratio) * given.base[place] + ratio * given.raw[:, place].mean(0)
        torch.testing.assert_close(found[place], expected, rtol=1e-3, atol=1e-4)


def test_a_model_stock_of_equal_networks_is_that_network_and_of_opposite_ones_the_base():
    given = context(raw_originals(1).expand(4, -1))
    torch.testing.assert_close(built(MODEL_STOCK.at(None), given).raw, given.raw[:1])
    direction = torch.randn(30, generator=generator())
    opposite = context(originals=torch.stack([direction, -direction]))
    assert stock_ratio((opposite.raw @ opposite.raw.T).double()) == 0.0
    assert stock_ratio(torch.zeros(3, 3).double()) == 1.0


def test_a_model_stock_does_not_depend_on_the_order():
    given = context()
    other = context(given.raw.flip(0))
    torch.testing.assert_close(
        built(MODEL_STOCK.at(None), given).raw, built(MODEL_STOCK.at(None), other).raw
    )


def test_the_scale_with_the_best_validation_score_is_chosen():
    """The best point of the line is known, and other networks than those that choose are made."""
    vectors = torch.full((4, 10), 2.0) + 1e-3 * torch.randn(4, 10, generator=generator())
    given = context(
        originals=vectors,
        validate=lambda found: -(found.mean(1) - 2.9).abs(),
        base=torch.zeros(10),
    )
    found = built(TASK_ARITHMETIC.at("validation"), given)
    assert found.vectors[0].allclose(1.5 * vectors.mean(0))
    assert found.data_used.kind == "labels"
    assert found.facts == {
        "task_arithmetic@validation is at": "1.5, of 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, "
        "by validation score"
    }
