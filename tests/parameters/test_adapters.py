"""Factors of adapters to products and back: the same adapter, whatever the factors."""

import pytest
import torch

from paramdiff.parameters.adapters import AdapterProducts
from paramdiff.parameters.layout import ParameterLayout


def state(seed=0, first="lora_A", second="lora_B", kernel=()):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    ones = (1,) * len(kernel)
    return {
        f"q.{first}.default.weight": draw(3, 10, *kernel),
        f"q.{second}.default.weight": draw(7, 3, *ones),
        "q.lora_magnitude_vector": draw(7),
        "head.weight": draw(4, 5),
    }


def layout_of(example):
    return ParameterLayout.of(example, list(example))


def product(vector, layout):
    first, second = list(layout.unflatten(vector).values())[:2]
    return second.flatten(1) @ first.flatten(1)


@pytest.mark.parametrize(
    ("names", "kernel"),
    [
        (("lora_A", "lora_B"), ()),
        (("lora_down", "lora_up"), ()),
        (("lora.down", "lora.up"), ()),
        (("lora_A", "lora_B"), (3, 3)),
    ],
)
def test_there_and_back_is_the_same_adapter(names, kernel):
    layout = layout_of(state(0, *names, kernel))
    adapters = AdapterProducts.find(layout)
    raw = torch.stack([layout.flatten(state(seed, *names, kernel)) for seed in range(4)])
    again, kept = adapters.factored(adapters.multiplied(raw))
    assert kept == pytest.approx(1)
    for before, after in zip(raw, again, strict=True):
        assert torch.allclose(product(before, layout), product(after, layout), atol=1e-4)
        rest = list(layout.unflatten(before).items())[2:]
        assert all(torch.equal(one, layout.unflatten(after)[name]) for name, one in rest)


def test_products_do_not_depend_on_the_factors():
    example = state()
    layout = layout_of(example)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(5)))[0]
    other = dict(example)
    other["q.lora_A.default.weight"] = turn.T @ example["q.lora_A.default.weight"]
    other["q.lora_B.default.weight"] = example["q.lora_B.default.weight"] @ turn
    adapters = AdapterProducts.find(layout)
    raw = torch.stack([layout.flatten(example), layout.flatten(other)])
    one, same = adapters.multiplied(raw)
    assert torch.allclose(one, same, atol=1e-4)


def test_factors_are_the_best_of_their_rank():
    """By Eckart, Young and Mirsky: numpy's truncated decomposition of the average."""
    layout = layout_of(state())
    adapters = AdapterProducts.find(layout)
    raw = torch.stack([layout.flatten(state(seed)) for seed in range(3)])
    mean = adapters.multiplied(raw).mean(0, keepdim=True)
    found, kept = adapters.factored(mean)
    matrix = mean[0, :70].view(7, 10).double()
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    best = left[:, :3] @ values[:3].diag() @ right[:3]
    assert torch.allclose(product(found[0], layout).double(), best, atol=1e-5)
    assert kept == pytest.approx(float(values[:3].square().sum() / values.square().sum()))


@pytest.mark.parametrize(
    "change",
    [
        {"q.lora_B.default.weight": torch.zeros(7, 4)},
        {"q.lora_B.default.weight": torch.zeros(7, 3, 3, 3)},
        {"q.lora_B.default.weight": torch.zeros(21)},
    ],
)
def test_what_does_not_fit_is_no_adapter(change):
    assert AdapterProducts.find(layout_of(state() | change)) is None


def test_networks_without_adapters_have_none():
    assert (
        AdapterProducts.find(layout_of({"a": torch.zeros(3, 4), "lora_A": torch.zeros(3)})) is None
    )
