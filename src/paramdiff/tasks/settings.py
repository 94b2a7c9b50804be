"""What a recipe says about its task."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from paramdiff.networks.catalogue import NetworkSettings
from paramdiff.settings import Settings


class TaskSettings(Settings):
    """What the networks are for."""

    name: str = Field(description="a task's name, or 'module:function' that returns a Task")
    root: Path | None = Field(
        None,
        description="folder or .npz file of the data; public sets are downloaded to it where "
        "missing; none: ~/.cache/paramdiff/data",
    )
    network: NetworkSettings | None = Field(None, description="none: the task's own")
    image_size: int | None = Field(
        None, gt=0, description="pixels per side of the network's input; none: the task's own"
    )
    augment: bool = Field(
        False,
        description="train on random crops, resized to image_size, and their mirror images; tasks "
        "with a loss of their own mirror only",
    )
    protocol: Literal["validation", "paper"] = Field(
        "validation",
        description="validation: a part of the training data selects; paper: the test data do",
    )
    seed: int = Field(0, ge=0, description="of the split into training, validation and test data")
