"""Settings of a task in a recipe."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.settings import Seed, Settings


class TaskSettings(Settings):
    """Data, network and splits."""

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
    standardize: bool = Field(
        False,
        description="vectors only: every feature minus its mean over the training rows, over its "
        "standard deviation there; false takes them as they are",
    )
    protocol: Literal["validation", "paper"] = Field(
        "validation",
        description="validation: a part of the training data selects; paper: the test data do",
    )
    num_train: int | None = Field(
        None, gt=0, description="use only so many of the training examples, the first; none: all"
    )
    num_validation: int | None = Field(
        None, gt=0, description="the same of the validation examples"
    )
    num_test: int | None = Field(None, gt=0, description="the same of the test examples")
    seed: Seed = Field(0, description="of the split into training, validation and test data")

    @property
    def is_shortened(self) -> bool:
        """If some examples are left out."""
        return (self.num_train, self.num_validation, self.num_test) != (None, None, None)

    @model_validator(mode="after")
    def _one_split_has_one_size(self) -> "TaskSettings":
        if self.protocol == "paper" and self.num_validation is not None:
            raise ValueError("num_validation: the paper's protocol validates on the test data")
        return self
