"""A user's network: a class, a function or an object that builds it, or the network itself."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from paramdiff.errors import UserError
from paramdiff.networks.logits import num_logits
from paramdiff.user_code import (
    accepts,
    call,
    import_object,
    parameters_of,
    wrong_signature,
)

FIELD = "task.network.name"
WANTED = "a torch module, or a class or function of (num_classes, input_shape) or of no arguments"
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def build_user_network(name: str, num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """Build a user's network and check its outputs.

    Args:
        name: see ``import_object``; names a torch module, which is copied, or a class or
            function, which is called with those of ``num_classes`` and ``input_shape`` that it
            accepts.
        num_classes: ``K``.
        input_shape: shape of one example.

    Returns:
        A network from ``[B, *input_shape]`` to logits ``[B, K]``.

    Raises:
        UserError: it cannot be imported, takes other arguments, fails, or does not return a torch
            module; or the network cannot take such inputs or has another number of classes.
    """
    found = import_object(name, FIELD)
    if isinstance(found, nn.Module):
        network = copy.deepcopy(found)
    elif callable(found):
        given, named = _arguments(name, found, num_classes, input_shape)
        hint = f"it was called with {_shown(given, named)}"
        network = call(FIELD, name, hint, found, *given, **named)
    else:
        raise UserError(f"{FIELD}: {name!r} must be {WANTED}, but is {type(found).__name__}")
    if not isinstance(network, nn.Module):
        raise UserError(
            f"{FIELD}: {name!r} must return a torch module, not {type(network).__name__}"
        )
    logits = num_logits(f"{FIELD}: {name}", network, torch.zeros(2, *input_shape))
    if logits != num_classes:
        raise UserError(f"{FIELD}: {name!r} has {logits} classes, but the data have {num_classes}")
    return network


def _shown(given: tuple[Any, ...], named: dict[str, Any]) -> str:
    if given:
        return f"num_classes, input_shape = {', '.join(map(str, given))}"
    return ", ".join(f"{key}={value}" for key, value in named.items()) or "no arguments"


def _arguments(
    name: str, function: Callable[..., Any], num_classes: int, input_shape: tuple[int, ...]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Choose the arguments of a function: by name if it has the names, else by position."""
    if getattr(function, "__init__", None) is nn.Module.__init__:  # a class without arguments
        return (), {}
    both = {"num_classes": num_classes, "input_shape": input_shape}
    parameters = parameters_of(function)
    named = {
        key: value
        for key, value in both.items()
        if key in parameters and parameters[key].kind != inspect.Parameter.POSITIONAL_ONLY
    }
    is_open = bool(parameters) and all(one.kind in VARIADIC for one in parameters.values())
    if accepts(function, **named) and (named or not is_open):
        return (), named
    if _takes_both_in_order(function, list(both)):
        return tuple(both.values()), {}
    if is_open and accepts(function, **both):
        return (), both
    raise wrong_signature(FIELD, name, function, WANTED)


def _takes_both_in_order(function: Callable[..., Any], names: list[str]) -> bool:
    """Check if a function takes two positional arguments that do not have swapped names."""
    parameters = parameters_of(function).values()
    places = [one for one in parameters if one.kind in POSITIONAL]
    needed = [one for one in places if one.default is inspect.Parameter.empty]
    has_any_number = any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters)
    is_swapped = any(
        one.name in names and one.name != name for one, name in zip(places, names, strict=False)
    )
    takes_two = len(needed) == 2 or (has_any_number and len(needed) == len(places) < 2)
    return takes_two and not is_swapped and accepts(function, *names)
