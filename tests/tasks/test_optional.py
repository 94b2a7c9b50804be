"""torchvision and timm are optional, and load only when something of theirs is asked for."""

import subprocess
import sys

import pytest

from paramdiff.errors import UserError
from paramdiff.tasks.registry import build_task, describe_task
from paramdiff.tasks.task_settings import TaskSettings


def test_nothing_loads_them_before_they_are_needed():
    code = (
        "import sys\n"
        "from paramdiff.tasks.registry import TaskSettings, build_task, describe_task\n"
        "build_task(TaskSettings(name='digits')).build_network()\n"
        "describe_task(TaskSettings(name='cifar10')).build_network()\n"
        "print({'torchvision', 'timm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.fixture
def not_installed(monkeypatch):
    for name in list(sys.modules):
        if name.split(".")[0] in ("torchvision", "timm", "pycocotools"):
            monkeypatch.setitem(sys.modules, name, None)
    for name in ("torchvision", "timm", "pycocotools"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("not_installed")
@pytest.mark.parametrize("name", ["cifar10", "food101", "image_folder"])
def test_a_task_that_needs_torchvision_says_so(name, tmp_path):
    with pytest.raises(UserError, match=r"needs torchvision: pip install 'paramdiff\[vision\]'"):
        build_task(
            TaskSettings(name=name, root=tmp_path, network={"name": "torchvision/resnet18"})
        )


@pytest.mark.usefixtures("not_installed")
@pytest.mark.parametrize("network", ["resnet18", "torchvision/resnet18"])
def test_a_network_of_theirs_says_so(network):
    described = describe_task(TaskSettings(name="cifar10", network={"name": network}))
    with pytest.raises(UserError, match=r"needs (torchvision|timm): pip install 'paramdiff\["):
        described.build_network()


@pytest.mark.usefixtures("not_installed")
@pytest.mark.parametrize("name", ["coco_detection", "coco_segmentation"])
def test_a_task_that_needs_pycocotools_says_so(name, tmp_path):
    with pytest.raises(
        UserError, match=r"needs pycocotools: pip install 'paramdiff\[detection\]'"
    ):
        build_task(TaskSettings(name=name, root=tmp_path))
