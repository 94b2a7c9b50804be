"""docs/tasks.md names every task and network, with their sizes."""

from pathlib import Path

import pytest

from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.networks.registry import NETWORKS, build_network
from paramdiff.tasks.public import FACTS
from paramdiff.tasks.registry import TASKS

TEXT = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")


def row_of(name):
    return next(line for line in TEXT.splitlines() if f"`{name}`" in line and line[0] == "|")


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_is_told(name):
    row = row_of(name)
    if name in FACTS:
        facts = FACTS[name]
        assert f"{facts.num_train:,} + {facts.num_test:,}" in row
        assert f"{facts.num_classes}" in row and f" {facts.size}" in row


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_network_is_told(name):
    size, smallest = NETWORKS[name].size, NETWORKS[name].smallest
    network = build_network(NetworkSettings(name=name), 10, (3, size or 32, size or 32))
    assert f" {sum(p.numel() for p in network.parameters()):,} " in row_of(name)
    told = f"{smallest} pixels per side or more" if smallest > 1 else "any size"
    assert (f"{size}x{size}" if size else told) in row_of(name)
