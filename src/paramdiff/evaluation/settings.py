"""What of the evaluation a recipe chooses."""

from pydantic import Field

from paramdiff.settings import Settings


class EvaluationSettings(Settings):
    """How groups are compared."""

    seed: int = Field(0, ge=0, description="of the baselines' and the bootstrap's draws")
    num_trajectories: int = Field(
        3, ge=0, description="generated networks whose reverse process is scored (Figure 5b)"
    )
    num_conditions: int = Field(
        7,
        ge=0,
        description="values of each numeric condition for which networks are generated and scored",
    )
    recalibrate_batchnorm: bool = Field(
        False, description="also score with BatchNorm statistics estimated anew"
    )
