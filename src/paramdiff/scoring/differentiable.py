"""A network on fixed examples as a differentiable function of some of its tensors.

What the tensors cannot change is computed once per example and kept where it fits the memory
budget, as in fast scoring; gradients flow through the rest alone. The network is in evaluation
mode: BatchNorm uses the running statistics that it is given.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from paramdiff.errors import UserError
from paramdiff.scoring.inputs import Inputs, batches
from paramdiff.scoring.predict import NUM_CHECKED, check_output, layout_of, loaded, num_bytes
from paramdiff.scoring.split import cut, is_one_per_example, used_by

PREFIX_BATCH = 500


class DifferentiableNetwork:
    """Logits of chosen examples, through which gradients reach the chosen tensors.

    Args:
        network: the architecture; it is copied, never changed.
        base: its complete state dict, the source of every tensor that is not in ``names``.
        names: the tensors (parameters or buffers) that a parameter set gives.
        inputs: the examples ``[E, ...]``.
        device: where to compute.
        memory_budget: bytes that the values at the cut may take.
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
            raise UserError("expected at least one example, found none")
        self._inputs, self._device = inputs, torch.device(device)
        whole = loaded(network, base).to(device).requires_grad_(False)
        _open_statistics(whole, set(names))
        self._layout = layout_of(whole, inputs[:NUM_CHECKED].to(device), has_gradients=True)
        whole = whole.to(memory_format=self._layout)
        example = self._placed(inputs[:NUM_CHECKED])
        check_output(whole, example)
        self.cut = cut(whole, names, example)
        self._kept: list[Tensor] | None = None
        total = num_bytes(self.cut.prefix(example)) * len(inputs) // len(example)
        if total <= memory_budget and is_one_per_example(self.cut, example):
            computed = [self._prefix(batch) for batch in batches(inputs, PREFIX_BATCH)]
            self._kept = [torch.cat(column) for column in zip(*computed, strict=True)]

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._inputs)

    def logits(self, parameters: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        """The network's logits.

        Args:
            parameters: the chosen tensors by name.
            rows: indices ``[B]`` of examples.

        Returns:
            ``[B, K]``.
        """
        values: Sequence[Tensor]
        if self._kept is not None:
            place = rows.to(self._device)
            values = [value[place] for value in self._kept]
        else:
            values = self._prefix(self._inputs[rows])
        suffix = self.cut.suffix
        return functional_call(suffix, used_by(suffix, dict(parameters)), tuple(values))

    @torch.no_grad()
    def _prefix(self, inputs: Tensor) -> tuple:
        return self.cut.prefix(self._placed(inputs))

    def _placed(self, inputs: Tensor) -> Tensor:
        return inputs.to(self._device, memory_format=self._layout)


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
