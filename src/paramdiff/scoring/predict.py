"""Predictions of many parameter sets of one network: ``[M, E]`` labels, each shared part once.

The frozen prefix runs once per example (``PrefixCache``); then each set runs only the rest. If the
outputs of the prefix do not fit the memory budget, examples go in chunks, and all sets are scored
on one chunk before the next is computed. Examples that are decoded on access are read batch by
batch, and never held together.
"""

import copy
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from paramdiff.errors import NotFiniteError, UserError, in_one_line
from paramdiff.scoring.inputs import Inputs
from paramdiff.scoring.prefix_cache import NUM_CHECKED, PrefixCache
from paramdiff.scoring.split import named_tensors
from paramdiff.scoring.stacked import evaluator_of

ParameterSet = Mapping[str, Tensor]


class Scorer:
    """A network on fixed inputs, as a function of some of its tensors.

    Args:
        network: the architecture; it is copied, never changed.
        base: its complete state dict, the source of every tensor that is not in ``names``.
        names: the tensors (parameters or buffers) that a parameter set gives.
        inputs: the examples ``[E, ...]``; read batch by batch.
        device: where to compute.
        memory_budget: bytes that the outputs of the prefix may take.
        batch_size: examples in one call of the network.

    Attributes:
        prefix: the part of the network that no set changes, and its outputs.
        cut: the network in two parts, and why nothing is shared if so.
        is_deterministic: whether the same input gave the same output twice.
        num_chunks: how often ``predict`` goes through the parameter sets; 1 if the outputs of the
            prefix are kept.
    """

    def __init__(
        self,
        network: nn.Module,
        base: ParameterSet,
        names: Sequence[str],
        inputs: Inputs,
        *,
        device: str | torch.device = "cpu",
        memory_budget: int = 2**30,
        batch_size: int = 500,
    ) -> None:
        if not len(inputs):
            raise UserError("there are no examples to score on")
        device = torch.device(device)
        whole = loaded(network, base).to(device)
        example = inputs[:NUM_CHECKED].to(device)
        check_output(whole, example)
        self.prefix = PrefixCache(
            whole,
            names,
            inputs,
            device=device,
            memory_budget=memory_budget,
            batch_size=batch_size,
        )
        self.is_deterministic = is_deterministic(whole, example)
        self.cut = self.prefix.cut
        self.num_chunks = len(self.prefix.chunks)
        own = named_tensors(whole)
        self._like = {name: own[name].detach() for name in names}
        self._evaluate = evaluator_of(
            self.cut.suffix, names, self.prefix.example, self.prefix.batch_size
        )

    def logits(self, parameters: ParameterSet) -> Tensor:
        """Compute the logits of one parameter set.

        Args:
            parameters: the chosen tensors by name; others are ignored.

        Returns:
            Logits ``[E, K]``, as the network gives them, finite or not.
        """
        return self._logits(0, parameters)

    def probabilities(self, parameter_sets: Iterable[ParameterSet]) -> Iterator[Tensor]:
        """Class probabilities ``[E, K]`` of each parameter set in turn; none is kept.

        Where ``num_chunks`` exceeds 1, each set costs a pass through the whole network.

        Args:
            parameter_sets: the chosen tensors by name, of each set.

        Yields:
            Probabilities ``[E, K]``.

        Raises:
            NotFiniteError: a set gives logits that are not finite.
        """
        for index, parameters in enumerate(parameter_sets):
            logits = self._logits(index, parameters)
            check_finite(logits.unsqueeze(0), index)
            yield logits.softmax(dim=-1)

    def predict(self, parameter_sets: Iterable[ParameterSet]) -> Tensor:
        """Predict the labels of many parameter sets.

        Args:
            parameter_sets: the chosen tensors by name, of each set. They are read ``num_chunks``
                times: an iterator that can be read only once is kept as a list if that exceeds
                1, so give a sequence that loads its items if they are many and large.

        Returns:
            Labels ``[M, E]``: int16, or int32 for more than 32,767 classes.

        Raises:
            UserError: a set lacks a tensor or has one of another shape.
            NotFiniteError: a set gives logits that are not finite and so have no label.
        """
        if self.num_chunks > 1 and iter(parameter_sets) is parameter_sets:
            parameter_sets = list(parameter_sets)
        with torch.inference_mode():
            columns = [self._labels(chunk, parameter_sets) for chunk in range(self.num_chunks)]
        return torch.cat(columns, dim=1)

    def _logits(self, index: int, parameters: ParameterSet) -> Tensor:
        with torch.inference_mode():
            group = [self._checked(index, parameters)]
            batches = [
                self._evaluate(group, values)[0]
                for chunk in range(self.num_chunks)
                for values in self.prefix.batches(chunk)
            ]
        return torch.cat(batches)  # outside: the result may take part in a gradient

    def _labels(self, chunk: int, parameter_sets: Iterable[ParameterSet]) -> Tensor:
        batches = self.prefix.batches(chunk)
        rows = [torch.empty(0, len(self.prefix.chunks[chunk]), dtype=torch.int16)]
        num_done = 0
        checked = itertools.starmap(self._checked, enumerate(parameter_sets))
        while group := list(itertools.islice(checked, self._evaluate.group_size)):
            rows.append(torch.cat([self._labels_of(group, b, num_done) for b in batches], dim=1))
            num_done += len(group)
        return torch.cat(rows)

    def _labels_of(self, group: list[dict[str, Tensor]], values: tuple, first: int) -> Tensor:
        logits = self._evaluate(group, values)
        check_finite(logits, first)
        fits = logits.shape[-1] <= torch.iinfo(torch.int16).max
        return logits.max(dim=-1).indices.to("cpu", torch.int16 if fits else torch.int32)

    def _checked(self, index: int, parameters: ParameterSet) -> dict[str, Tensor]:
        tensors = {}
        for name, like in self._like.items():
            if name not in parameters:
                raise UserError(f"parameter set {index}: tensor {name!r} is missing")
            tensor = parameters[name]
            if tensor.shape != like.shape:
                raise UserError(
                    f"parameter set {index}: {name!r} has shape {tuple(tensor.shape)}, but the "
                    f"network's has {tuple(like.shape)}"
                )
            # comparing is cheaper than a conversion to what it is already
            same = tensor.dtype is like.dtype and tensor.device == like.device
            tensors[name] = tensor if same else tensor.to(like)
        return tensors


def loaded(network: nn.Module, base: ParameterSet) -> nn.Module:
    """Copy a network with a state dict, in evaluation mode; a ``UserError`` if they differ."""
    whole = copy.deepcopy(network).eval()
    try:
        whole.load_state_dict(dict(base), strict=True)
    except RuntimeError as error:
        raise UserError(
            f"the base checkpoint is not the network's: {in_one_line(error)}"
        ) from None
    return whole


@torch.inference_mode()
def check_output(network: nn.Module, example: Tensor) -> None:
    """Raise a ``UserError`` unless the network's output is logits ``[B, K]``."""
    with torch.random.fork_rng(devices=()):
        output = network(example)
    if not isinstance(output, Tensor) or output.dim() != 2 or len(output) != len(example):
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(f"the network must return logits [examples, classes], but returns {found}")


@torch.inference_mode()
def is_deterministic(network: nn.Module, example: Tensor) -> bool:
    """Check if each output depends on one input; warn if not."""
    with torch.random.fork_rng(devices=()):
        first, second = network(example), network(example)
    same = torch.allclose(first, second, rtol=1e-4, atol=1e-5, equal_nan=True)
    if not same:
        warnings.warn(
            "the network is random at test time (dropout left on?): scoring the same parameters "
            "twice will not give the same labels",
            stacklevel=3,
        )
    return same


def check_finite(logits: Tensor, first: int) -> None:
    """Raise a ``NotFiniteError`` if one of the sets has a logit that is not finite.

    Args:
        logits: ``[S, B, K]``.
        first: the index of the first of these sets among all.
    """
    if math.isfinite(float(logits.sum())):  # one number to read; only an overflow misleads it
        return
    finite = logits.isfinite().all(dim=-1).all(dim=-1)
    if not finite.all():
        index = first + int(finite.int().argmin())
        raise NotFiniteError(f"parameter set {index}: its logits are not finite (NaN or infinity)")
