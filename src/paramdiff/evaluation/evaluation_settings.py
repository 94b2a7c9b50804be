"""Settings of the evaluation."""

from pydantic import Field

from paramdiff.errors import UserError
from paramdiff.settings import Seed, Settings


class EvaluationSettings(Settings):
    """Seed, optional parts and margins of the comparison of groups."""

    seed: Seed = Field(0, description="of the baselines' and the bootstrap's draws")
    num_trajectories: int = Field(
        3, ge=0, description="generated networks whose reverse process is scored (Figure 5b)"
    )
    num_conditions: int = Field(
        7,
        ge=0,
        description="values of each numeric condition for which networks are generated and scored",
    )
    equivalence_margin: float | None = Field(
        None,
        gt=0,
        description="groups are called as good as each other only if the whole interval of their "
        "difference lies within this margin, in units of the score; null is 0.005 (0.5 points) "
        "for accuracies, and makes no claim of equivalence for other scores",
    )
    num_compared: int = Field(
        30,
        ge=2,
        description="networks of every method that is in front, if methods are compared without "
        "generated networks",
    )
    is_full: bool = Field(False, description="then make so many of every method, in front or not")
    num_reestimated: int = Field(
        50,
        ge=0,
        description="networks of each baseline whose BatchNorm statistics are re-estimated on "
        "unlabeled training inputs, where the network has any; 0 leaves these baselines out",
    )
    recalibrate_batchnorm: bool = Field(
        False, description="also score with BatchNorm statistics estimated anew"
    )
    finetuning_curves: bool = Field(
        False, description="also train a few networks of some groups for a few updates"
    )

    def check_task(self, *, is_classification: bool) -> None:
        """Refuse options that need a classification task for any other task.

        Args:
            is_classification: if the task is classification; otherwise it has its own score.

        Raises:
            UserError: such an option is set for another task.
        """
        for name in ("recalibrate_batchnorm", "finetuning_curves"):
            if getattr(self, name) and not is_classification:
                raise UserError(
                    f"evaluation.{name}: expected a classification task, found one with its own "
                    "score"
                )
