"""BatchNorm statistics estimated anew for given parameters, then predictions.

Parameters that were averaged or generated meet running statistics of another network. Estimating
them anew on training inputs (Izmailov et al. 2018, section 3.2) needs no labels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from paramdiff.errors import UserError
from paramdiff.scoring.inputs import Inputs, batches
from paramdiff.scoring.score import ParameterSet, check_finite, loaded


class Recalibrator:
    """A network on fixed inputs, whose BatchNorm statistics follow its parameters.

    Args:
        network: the architecture; it is copied, never changed.
        base: its complete state dict.
        training_inputs: ``[T, ...]``; whose statistics are taken.
        inputs: the examples ``[E, ...]`` to predict.
        device: where to compute.
        batch_size: examples in one call of the network.

    Raises:
        UserError: the network has no BatchNorm layer that keeps statistics.
    """

    def __init__(
        self,
        network: nn.Module,
        base: ParameterSet,
        training_inputs: Tensor,
        inputs: Inputs,
        *,
        device: str | torch.device = "cpu",
        batch_size: int = 500,
    ) -> None:
        self._network = loaded(network, base).to(device)
        self._base, self._device = dict(base), torch.device(device)
        layers = [
            m for m in self._network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
        ]
        if not any(layer.track_running_stats for layer in layers):
            raise UserError(
                "evaluation.recalibrate_batchnorm: expected a network with BatchNorm layers, "
                "found none that keeps statistics"
            )
        # equal batches, as each counts alike and BatchNorm refuses one of a single example
        self._training = training_inputs.tensor_split(-(-len(training_inputs) // batch_size))
        self._inputs, self._batch_size = inputs, batch_size

    def predict(self, parameter_sets: Sequence[ParameterSet]) -> Tensor:
        """The predicted labels ``[M, E]``, each set with statistics of its own.

        Args:
            parameter_sets: the chosen tensors by name, of each set.

        Returns:
            Labels ``[M, E]``.

        Raises:
            NotFiniteError: a set gives logits that are not finite.
        """
        return torch.stack(
            [self._labels(index, tensors) for index, tensors in enumerate(parameter_sets)]
        )

    @torch.no_grad()
    def _labels(self, index: int, tensors: ParameterSet) -> Tensor:
        self._network.load_state_dict(self._base | dict(tensors))
        cuda = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(0)  # of dropout, which is on while statistics are taken
            update_bn(self._training, self._network, self._device)
        self._network.eval()
        logits = torch.cat(
            [
                self._network(batch.to(self._device))
                for batch in batches(self._inputs, self._batch_size)
            ]
        )
        check_finite(logits.unsqueeze(0), index)
        return logits.argmax(1).cpu()
