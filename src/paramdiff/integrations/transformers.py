"""Collect a zoo while the Trainer of transformers trains."""

from typing import TYPE_CHECKING, Any

from paramdiff.checkpoints.recorded import RESERVED
from paramdiff.zoo.recorder import ZooRecorder

if TYPE_CHECKING:
    from transformers import TrainerCallback
else:
    try:
        from transformers import TrainerCallback
    except ImportError:
        raise ImportError(
            "paramdiff.integrations.transformers needs transformers: pip install transformers"
        ) from None


class ZooRecorderCallback(TrainerCallback):
    """Record the model after every due optimizer step.

    Steps are counted by ``state.global_step``. The header has the metrics that the Trainer logs at
    that very step (``loss``, ``eval_loss``, ...): set ``logging_steps`` to a divisor of the
    recorder's ``every``. These are known only before the next step begins, when the model is
    recorded.

    Args:
        recorder: recorder of this training.
    """

    def __init__(self, recorder: ZooRecorder) -> None:
        self.recorder = recorder
        self._step: int | None = None
        self._metrics: dict[str, float] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember the step, which is recorded with the metrics that are logged next."""
        self._step, self._metrics = state.global_step, {}

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Collect the metrics of the step."""
        self._metrics |= {
            name: value
            for name, value in (kwargs.get("logs") or {}).items()
            if name not in RESERVED and isinstance(value, int | float)
        }

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the step before this one."""
        self._record(state, kwargs["model"])

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the last step of an epoch, unless its evaluation follows."""
        if not control.should_evaluate:
            self._record(state, kwargs["model"])

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the step that was evaluated: the best model may be loaded next."""
        self._record(state, kwargs["model"])

    def _record(self, state: Any, model: Any) -> None:
        if self._step is not None:
            self.recorder.record(model, self._step, epoch=state.epoch, **self._metrics)
            self._step = None
