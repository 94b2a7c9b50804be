"""BatchNorm statistics estimated anew for given parameters.

Parameters that were averaged or generated meet running statistics of another network. Estimating
them anew on training inputs (Izmailov et al. 2018, section 3.2) needs no labels.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from paramdiff.scoring.cut import chosen_tensors
from paramdiff.scoring.inputs import Inputs
from paramdiff.scoring.score import ParameterSet, loaded

NUM_EXAMPLES = 32
"""Inputs on which it is found out what parameters change."""


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
        """The statistics that a network has with given parameters, by one pass over the inputs.

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
    """The names of all running means and variances that BatchNorm layers keep."""
    return tuple(
        f"{prefix}.{name}".lstrip(".")
        for prefix, layer in network.named_modules(remove_duplicate=False)
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
        for name in ("running_mean", "running_var")
    )


def changes_statistics(
    network: nn.Module, base: ParameterSet, names: Collection[str], inputs: Inputs
) -> bool:
    """Whether BatchNorm statistics depend on some tensors of a network, or are among them.

    The network runs on a few inputs with two sets of these tensors, as it does while statistics
    are taken; these depend on them where the input of a layer that keeps statistics differs.

    Args:
        network: the architecture; it is copied, never changed.
        base: its complete state dict.
        names: the tensors in question.
        inputs: training examples ``[T, ...]``.

    Returns:
        True also where some of the statistics are among the tensors.
    """
    whole = loaded(network, base).train()
    statistics = statistics_of(whole)
    if not statistics:
        return False
    if set(statistics) & set(names):
        return True
    example = inputs[:NUM_EXAMPLES]
    own = chosen_tensors(whole, names)
    generator = torch.Generator().manual_seed(0)
    changed = {
        name: tensor * 1.25 + 0.01 * torch.randn(tensor.shape, generator=generator).to(tensor)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in own.items()
    }
    before, after = (_seen_by_layers(whole, tensors, example) for tensors in (own, changed))
    return any(not torch.equal(*pair) for pair in zip(before, after, strict=True))


@torch.no_grad()
def _seen_by_layers(
    network: nn.Module, tensors: Mapping[str, Tensor], example: Tensor
) -> list[Tensor]:
    """What each call of a layer that keeps statistics reads."""
    seen: list[Tensor] = []
    layers = [
        layer
        for layer in network.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    ]
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].clone()))
        for layer in layers
    ]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)  # of dropout
        functional_call(network, dict(tensors), (example,))
    for hook in hooks:
        hook.remove()
    return seen
