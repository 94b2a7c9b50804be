"""BatchNorm statistics estimated anew for given parameters.

Parameters that were averaged or generated meet running statistics of another network. Estimating
them anew on training inputs (Izmailov et al. 2018, section 3.2) needs no labels.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from paramdiff.scoring.predict import ParameterSet, loaded


class Reestimator:
    """A network's BatchNorm statistics as a function of its parameters.

    Args:
        network: the architecture; it is copied, never changed.
        base: its complete state dict.
        training_inputs: ``[T, ...]``; whose statistics are taken.
        device: where to compute.
        batch_size: examples in one call of the network.

    Attributes:
        names: the statistics, as in the state dict; none without BatchNorm layers that keep them.
    """

    def __init__(
        self,
        network: nn.Module,
        base: ParameterSet,
        training_inputs: Tensor,
        *,
        device: str | torch.device = "cpu",
        batch_size: int = 500,
    ) -> None:
        self._network = loaded(network, base).to(device)
        self._base, self._device = dict(base), torch.device(device)
        self.names = statistics_of(self._network)
        # equal batches, as each counts alike and BatchNorm refuses one of a single example
        self._training = training_inputs.tensor_split(-(-len(training_inputs) // batch_size))

    @torch.no_grad()
    def statistics(self, parameters: ParameterSet) -> dict[str, Tensor]:
        """Compute a network's statistics with given parameters, by one pass over the inputs.

        Args:
            parameters: the chosen tensors by name; all others are the base's.

        Returns:
            Running means and variances by name, as ``torch.optim.swa_utils.update_bn`` gives them.
        """
        self._network.load_state_dict(self._base | dict(parameters))
        cuda = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(0)  # of dropout, which is on while statistics are taken
            update_bn(self._training, self._network, self._device)
        found = self._network.state_dict()
        return {name: found[name].clone() for name in self.names}


def statistics_of(network: nn.Module) -> tuple[str, ...]:
    """List the names of all running means and variances that BatchNorm layers keep."""
    return tuple(
        f"{prefix}.{name}".lstrip(".")
        for prefix, layer in network.named_modules(remove_duplicate=False)
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
        for name in ("running_mean", "running_var")
    )
