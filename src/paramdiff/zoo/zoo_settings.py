"""Settings of a zoo collected by training: the fields of a recipe's ``collection``."""

from typing import Literal

from pydantic import Field, model_validator

from paramdiff.settings import Settings


class PretrainingSettings(Settings):
    """Training of all parameters before the first checkpoint is saved."""

    epochs: int = Field(gt=0, description="passes over the training data")
    batch_size: int = Field(128, gt=0, description="examples per update")
    lr: float = Field(gt=0, description="initial learning rate, decayed by a cosine to 0")
    decay: Literal["epoch", "update"] = Field(
        "epoch", description="decay the learning rate once per epoch or at every update"
    )
    weight_decay: float = Field(5e-4, ge=0, description="decoupled (AdamW) or L2 (Adam, SGD)")
    optimizer: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", description="update rule; sgd has a momentum of 0.9"
    )


class FineTuningSettings(Settings):
    """Training of the selected parameters while checkpoints are saved."""

    batch_size: int = Field(128, gt=0, description="examples per update")
    lr: float = Field(gt=0, description="learning rate")
    final_lr: float | None = Field(
        None, gt=0, description="final rate of a cosine decay; null: constant rate"
    )
    weight_decay: float = Field(5e-4, ge=0, description="decoupled (AdamW) or L2 (Adam, SGD)")
    optimizer: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", description="update rule; sgd has a momentum of 0.9"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="precision of the forward pass"
    )
    mode: Literal["train", "eval", "eval_after_first_save"] = Field(
        "train",
        description="statistics in normalization layers: of the batch (train), running (eval), or "
        "of the batch until the first checkpoint is saved (the authors' default)",
    )


class CollectionSettings(Settings):
    """Collection of a zoo by training."""

    kind: Literal["train"] = "train"
    pretraining: PretrainingSettings | None = Field(
        description="training of all parameters; null: start from the network as it is"
    )
    fine_tuning: FineTuningSettings = Field(description="training of the selected parameters")
    num_checkpoints: int = Field(300, gt=0, description="number of training checkpoints")
    num_held_out: int = Field(50, ge=0, description="number of held-out checkpoints")
    num_runs: int = Field(
        1, gt=0, description="fine-tuning runs; of several, the last ones are held out"
    )
    num_held_out_runs: int = Field(
        1, gt=0, description="number of held-out runs, if there are several"
    )
    independent_runs: bool = Field(
        False, description="give each run its own initial weights and pretraining"
    )
    skip_steps: int = Field(0, ge=0, description="updates of each run before its first checkpoint")
    skip_steps_per_epoch: int = Field(
        0, ge=0, description="updates at the start of each epoch without a checkpoint"
    )
    save_every_steps: int = Field(1, gt=0, description="updates between two checkpoints")

    @model_validator(mode="after")
    def _every_run_keeps_checkpoints(self) -> "CollectionSettings":
        if self.num_runs == 1:
            return self
        learning = self.num_runs - self.num_held_out_runs
        if learning < 1:
            raise ValueError(
                f"num_held_out_runs: {self.num_held_out_runs} of {self.num_runs} runs leaves none "
                "to train on"
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
            raise ValueError("independent_runs: requires pretraining")
        return self
