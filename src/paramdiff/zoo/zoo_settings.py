"""How a zoo is collected by training: the fields of a recipe's ``collection``."""

from typing import Literal

from pydantic import Field, model_validator

from paramdiff.settings import Settings


class PretrainingSettings(Settings):
    """How all parameters are trained before any checkpoint is kept."""

    epochs: int = Field(gt=0, description="passes over the training data")
    batch_size: int = Field(128, gt=0, description="examples per update")
    lr: float = Field(gt=0, description="initial learning rate, decayed by a cosine to 0")
    decay: Literal["epoch", "update"] = Field(
        "epoch", description="whether the learning rate changes once per epoch or at every update"
    )
    weight_decay: float = Field(5e-4, ge=0, description="decoupled (AdamW) or L2 (Adam, SGD)")
    optimizer: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", description="update rule; sgd has a momentum of 0.9"
    )


class FineTuningSettings(Settings):
    """How the selected parameters move while checkpoints are kept."""

    batch_size: int = Field(128, gt=0, description="examples per update")
    lr: float = Field(gt=0, description="learning rate")
    final_lr: float | None = Field(
        None, gt=0, description="cosine decay to this; none is constant"
    )
    weight_decay: float = Field(5e-4, ge=0, description="decoupled (AdamW) or L2 (Adam, SGD)")
    optimizer: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", description="update rule; sgd has a momentum of 0.9"
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the forward pass")
    mode: Literal["train", "eval", "eval_after_first_save"] = Field(
        "train",
        description="whether normalization layers use batch statistics (train), running ones "
        "(eval), or batch statistics until the first checkpoint is kept (the authors' default)",
    )


class CollectionSettings(Settings):
    """How a zoo is collected by training."""

    kind: Literal["train"] = "train"
    pretraining: PretrainingSettings | None = Field(
        description="from the initial weights to the trunk; none takes the network as it is"
    )
    fine_tuning: FineTuningSettings = Field(description="from the trunk to the checkpoints")
    num_checkpoints: int = Field(300, gt=0, description="checkpoints to learn from")
    num_held_out: int = Field(50, ge=0, description="checkpoints that train nothing")
    num_runs: int = Field(1, gt=0, description="fine-tuning runs; above 1 the last are held out")
    num_held_out_runs: int = Field(
        1, gt=0, description="of several runs, how many share the checkpoints that train nothing"
    )
    independent_runs: bool = Field(
        False, description="whether each run has initial weights and pre-training of its own"
    )
    skip_steps: int = Field(0, ge=0, description="updates of each run before its first checkpoint")
    skip_steps_per_epoch: int = Field(
        0, ge=0, description="updates at the start of each pass over the data that keep none"
    )
    save_every_steps: int = Field(1, gt=0, description="updates between two checkpoints")

    @model_validator(mode="after")
    def _every_run_keeps_checkpoints(self) -> "CollectionSettings":
        if self.num_runs == 1:
            return self
        learning = self.num_runs - self.num_held_out_runs
        if learning < 1:
            raise ValueError(
                f"num_held_out_runs: expected less than the {self.num_runs} runs, found "
                f"{self.num_held_out_runs}"
            )
        if self.num_held_out < self.num_held_out_runs or self.num_checkpoints < learning:
            raise ValueError(
                f"num_runs: {self.num_runs} runs need num_held_out of at least "
                f"{self.num_held_out_runs} for the last and num_checkpoints of at least "
                f"{learning} for the others"
            )
        return self

    @model_validator(mode="after")
    def _independent_runs_train(self) -> "CollectionSettings":
        if self.independent_runs and self.pretraining is None:
            raise ValueError("independent_runs: needs pretraining for each run, found none")
        return self
