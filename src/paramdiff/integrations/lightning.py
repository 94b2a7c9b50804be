"""Collect a zoo while Lightning trains."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from paramdiff.checkpoints.recorded import RESERVED
from paramdiff.zoo.recorder import ZooRecorder

if TYPE_CHECKING:
    from lightning.pytorch import Callback
else:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback
        except ImportError:
            raise ImportError(
                "paramdiff.integrations.lightning needs Lightning: pip install lightning"
            ) from None


class ZooRecorderCallback(Callback):
    """Record the ``LightningModule`` after every due optimizer step.

    Steps are counted by ``trainer.global_step``. The header has the logged metrics
    (``trainer.callback_metrics``) with their latest values: one that is logged once per epoch was
    measured at the end of the last one.

    Args:
        recorder: recorder of this training.
    """

    def __init__(self, recorder: ZooRecorder) -> None:
        self.recorder = recorder
        self._step: int | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Remember the step from which a training starts or resumes."""
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the module if this batch completed an optimizer step."""
        if trainer.global_step == self._step:  # gradients are accumulated
            return
        self._step = trainer.global_step
        metrics = {}
        if self.recorder.is_due(trainer.global_step):
            metrics = {
                name: value
                for name, value in trainer.callback_metrics.items()
                if name not in RESERVED and isinstance(value, Tensor) and value.numel() == 1
            }
        self.recorder.record(
            pl_module, trainer.global_step, epoch=trainer.current_epoch, **metrics
        )
