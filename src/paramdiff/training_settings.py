"""Settings of training: the optimizer with its schedule, and early stopping."""

from typing import Literal

from pydantic import Field

from paramdiff.settings import Settings


class Optimization(Settings):
    """Training of a module."""

    num_steps: int = Field(gt=0, description="updates until the learning-rate schedule ends")
    extra_updates: int = Field(
        0, ge=0, description="updates after the schedule's end (the authors' loop makes one)"
    )
    batch_size: int = Field(50, gt=0, description="examples per update, drawn with replacement")
    lr: float = Field(gt=0, description="initial learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled (AdamW) or L2 (Adam, SGD)")
    optimizer: Literal["adamw", "adam", "sgd"] = Field("adamw", description="update rule")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="cosine ends at final_lr"
    )
    final_lr: float = Field(0.0, ge=0, description="learning rate at the end of a cosine schedule")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="bfloat16 runs the forward pass under autocast: twice as fast where a CPU has "
        "instructions for it, several times slower where it has not",
    )
    ema_decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay of the weights' moving average; 0 keeps the last weights",
    )

    @property
    def num_updates(self) -> int:
        """Number of updates in all."""
        return self.num_steps + self.extra_updates


class EarlyStopping(Settings):
    """Frequency of validation, and patience of early stopping."""

    every: int = Field(100, gt=0, description="updates between two validations")
    patience: int = Field(
        10, gt=0, description="validations without improvement after which training stops"
    )
