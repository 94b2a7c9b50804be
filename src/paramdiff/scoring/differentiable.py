"""A network on fixed examples as a differentiable function of some of its tensors.

The frozen prefix runs once per example, and its outputs are kept if they fit the memory budget
(``PrefixCache``); gradients flow through the rest alone. The network is in evaluation
mode: BatchNorm uses the running statistics that it is given.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from paramdiff.errors import UserError
from paramdiff.scoring.inputs import Inputs
from paramdiff.scoring.predict import check_output, loaded
from paramdiff.scoring.prefix_cache import NUM_CHECKED, PrefixCache
from paramdiff.scoring.split import used_by


class DifferentiableNetwork:
    """Logits of chosen examples, through which gradients reach the chosen tensors.

    Args:
        network: the architecture; it is copied, never changed.
        base: its complete state dict, the source of every tensor that is not in ``names``.
        names: the tensors (parameters or buffers) that a parameter set gives.
        inputs: the examples ``[E, ...]``.
        device: where to compute.
        memory_budget: bytes that the outputs of the prefix may take.
    """

    def __init__(
        self,
        network: nn.Module,
        base: Mapping[str, Tensor],
        names: Sequence[str],
        inputs: Inputs,
        *,
        device: str | torch.device = "cpu",
        memory_budget: int = 2**30,
    ) -> None:
        if not len(inputs):
            raise UserError("there are no examples to compute logits on")
        device = torch.device(device)
        whole = loaded(network, base).to(device).requires_grad_(False)
        _open_statistics(whole, set(names))
        check_output(whole, inputs[:NUM_CHECKED].to(device))
        self._num_examples = len(inputs)
        self._prefix = PrefixCache(
            whole,
            names,
            inputs,
            device=device,
            memory_budget=memory_budget,
            has_gradients=True,
        )
        if self._prefix.obstacle() is None:
            self._prefix.keep_rows()
        self.cut = self._prefix.cut

    def __len__(self) -> int:
        """Number of examples."""
        return self._num_examples

    def logits(self, parameters: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        """Compute the network's logits.

        Args:
            parameters: the chosen tensors by name.
            rows: indices ``[B]`` of examples.

        Returns:
            ``[B, K]``.
        """
        suffix = self.cut.suffix
        own = used_by(suffix, dict(parameters))
        return functional_call(suffix, own, self._prefix.rows(rows))


class _OpenBatchNorm(nn.Module):
    """BatchNorm in evaluation mode, in operations that have gradients of the statistics.

    Args:
        norm: whose tensors it takes over, by the same names.
    """

    running_mean: Tensor
    running_var: Tensor
    weight: Tensor | None
    bias: Tensor

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self._parameters, self._buffers, self.eps = norm._parameters, norm._buffers, norm.eps

    def forward(self, values: Tensor) -> Tensor:
        """``[B, C, ...]`` to the same shape."""
        scale = (self.running_var + self.eps).rsqrt()
        shift = -self.running_mean * scale
        if self.weight is not None:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        # channels last for a moment: a shape that asks for the number of dimensions has no graph
        return (values.transpose(1, -1) * scale + shift).transpose(1, -1)


def _open_statistics(network: nn.Module, names: set[str]) -> None:
    """Replace the BatchNorm layers whose statistics are chosen: torch has no gradient of those."""
    for path, module in list(network.named_modules()):
        statistics = {f"{path}.running_mean", f"{path}.running_var"}
        if isinstance(module, _BatchNorm) and statistics & names:
            parent, _, own = path.rpartition(".")
            setattr(network.get_submodule(parent), own, _OpenBatchNorm(module))
