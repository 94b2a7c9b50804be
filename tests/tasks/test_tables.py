"""The tables that come with scikit-learn."""

import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_wine

from paramdiff.errors import UserError
from paramdiff.tasks.registry import build_task, describe_task
from paramdiff.tasks.task_settings import TaskSettings

TABLES = {"wine": load_wine, "breast_cancer": load_breast_cancer}


@pytest.mark.parametrize("name", list(TABLES))
@pytest.mark.parametrize("protocol", ["validation", "paper"])
def test_tables_are_tasks(name, protocol):
    settings = TaskSettings(name=name, protocol=protocol, seed=3, standardize=True)
    task, described = build_task(settings), describe_task(settings)
    inputs, labels = TABLES[name](return_X_y=True)
    parts = [task.train, task.test] + ([] if task.selects_on_test else [task.validation])
    assert sum(map(len, parts)) == len(labels)
    counts = sum(torch.bincount(part.labels) for part in parts)
    assert counts.equal(torch.bincount(torch.tensor(labels)))
    rows = torch.cat([part.inputs[:] for part in parts])
    assert len(rows.unique(dim=0)) == len(torch.tensor(inputs).unique(dim=0))
    train = task.train.inputs[:]
    torch.testing.assert_close(train.mean(0), torch.zeros(train.shape[1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(train.std(0), torch.ones(train.shape[1]))
    sizes = (described.num_train, described.num_validation, described.num_test)
    assert sizes == (len(task.train), len(task.validation), len(task.test))
    assert described.input_shape == train.shape[1:]
    assert task.selects_on_test == (protocol == "paper")
    assert task.build_network()(train).shape == (len(train), described.num_classes)


def test_tables_are_taken_as_they_are():
    task = build_task(TaskSettings(name="wine"))
    parts = torch.cat([getattr(task, part).inputs[:] for part in ("train", "validation", "test")])
    inputs, _ = load_wine(return_X_y=True)
    assert parts.unique(dim=0).equal(torch.tensor(inputs).float().unique(dim=0))


def test_a_seed_decides_the_splits():
    tasks = [build_task(TaskSettings(name="wine", seed=seed)) for seed in (0, 0, 1)]
    assert tasks[0].test.inputs[:].equal(tasks[1].test.inputs[:])
    assert not tasks[0].test.inputs[:].equal(tasks[2].test.inputs[:])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"augment": True}, "task.augment"),
        ({"image_size": 8}, "task.image_size"),
        ({"root": "data"}, "task.root"),
        ({"network": {"name": "resnet20"}}, "task.network.name"),
    ],
)
def test_what_a_table_cannot_have(change, field):
    with pytest.raises(UserError, match=f"^{field}: "):
        describe_task(TaskSettings(name="wine", **change)).build_network()
