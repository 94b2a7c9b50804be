"""Networks of timm and torchvision by name, with a head for the task's classes.

Both libraries are optional and slow to import, so they are loaded on first use.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import nn

from paramdiff.errors import UserError, in_one_line, suggestion
from paramdiff.networks.logits import num_logits
from paramdiff.user_code import FORMS, likely_own

TORCHVISION = "torchvision/"
FIELD = "task.network.name"
OWN_SIZE = 224  # default input size of torchvision's transformers
TWO_HEADED = {"googlenet", "inception_v3"}  # these return two outputs in training mode


def build_from_library(
    name: str, num_classes: int, input_shape: tuple[int, ...], pretrained: bool
) -> nn.Module:
    """Build a network of timm, or of torchvision if the name starts with ``torchvision/``.

    Args:
        name: the library's name of the network.
        num_classes: ``K``; a different number of published classes gets a new head.
        input_shape: shape of one example, ``(C, H, W)``.
        pretrained: load the library's default weights.

    Returns:
        The network.

    Raises:
        UserError: the library is not installed, has no such network or weights, the network cannot
            take such inputs, or the weights cannot be fetched or do not fit.
    """
    if len(input_shape) != 3:
        raise UserError(f"{FIELD}: {name!r} takes images, found inputs of shape {input_shape}")
    if name.startswith(TORCHVISION):
        own_size: tuple[int, ...] | None = (OWN_SIZE, OWN_SIZE)
        network = _build_torchvision(name, num_classes, input_shape, pretrained)
    else:
        network = _build_timm(name, num_classes, input_shape, pretrained)
        published = library("timm").get_pretrained_cfg(name)
        own_size = published.input_size[1:] if published else None
    if input_shape[1:] != own_size:  # some feature maps shrink to nothing
        num_logits(f"{FIELD}: {name}", network, torch.zeros(1, *input_shape))
    return network


def image_statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the channel means and standard deviations that published weights expect.

    Args:
        name: name of a network of timm or torchvision.

    Returns:
        Three numbers each, for pixels in [0, 1].
    """
    if not name.startswith(TORCHVISION):
        timm = library("timm")
        if timm.is_model(name) and (published := timm.get_pretrained_cfg(name)):
            return tuple(published.mean), tuple(published.std)
    return (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def library(name: str, extra: str = "vision") -> Any:
    """Import a module of an optional library, or raise a ``UserError`` that names the extra."""
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(
            f"this task or network needs {name.split('.')[0]}: pip install 'paramdiff[{extra}]' "
            f"({error})"
        ) from None


def library_names() -> list[str]:
    """List the networks of the installed libraries."""
    names: list[str] = []
    try:
        names += library("timm").list_models()
        names += [TORCHVISION + name for name in _torchvision_names()]
    except UserError:
        pass
    return names


def unknown(name: str, known: list[str]) -> UserError:
    """Return the error for an unknown name, with the nearest one."""
    return UserError(
        f"{FIELD}: unknown network {name!r}; {suggestion(name, known)}, and one of your own is "
        f"{FORMS}{likely_own(name)}"
    )


def _build_timm(
    name: str, num_classes: int, input_shape: tuple[int, ...], pretrained: bool
) -> nn.Module:
    timm = library("timm")
    architecture, _, tag = name.partition(".")
    weights = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in weights:
        known = weights or [architecture]
        raise UserError(f"{FIELD}: unknown weights {name!r}; {suggestion(name, known)}")
    if pretrained and not weights:
        raise UserError(f"task.network.pretrained: timm has no published weights for {name!r}")
    options: dict[str, Any] = {"num_classes": num_classes, "in_chans": input_shape[0]}
    published = timm.get_pretrained_cfg(name)
    if published and published.fixed_input_size and input_shape[1:] != published.input_size[1:]:
        options["img_size"] = input_shape[1:]
    try:
        with quiet_downloads():
            return timm.create_model(name, pretrained=pretrained, **options)
    except Exception as error:  # of the network's code, the download or the file: any type
        if pretrained:
            raise no_weights(name, error) from None
        raise UserError(
            f"{FIELD}: {name!r} cannot be built for inputs {input_shape}: {in_one_line(error)}"
        ) from None


def _build_torchvision(
    name: str, num_classes: int, input_shape: tuple[int, ...], pretrained: bool
) -> nn.Module:
    models = library("torchvision.models")
    own_name = name.removeprefix(TORCHVISION)
    known = _torchvision_names()
    if own_name not in known:
        raise unknown(name, [TORCHVISION + other for other in known])
    if input_shape[0] != 3:
        raise UserError(f"{FIELD}: {name!r} takes 3 channels, found {input_shape[0]}")
    options: dict[str, Any] = {"num_classes": num_classes}
    if own_name.startswith("vit_") and input_shape[1] != OWN_SIZE:
        options["image_size"] = input_shape[1]
    network = models.get_model(own_name, weights=None, **options)
    if pretrained:
        num_published = len(models.get_model_weights(own_name).DEFAULT.meta["categories"])
        load_but_the_head(name, network, published_values(name), num_published, num_classes)
    return network


def published_values(name: str) -> dict[str, Any]:
    """Fetch the state dict of torchvision's default weights.

    Args:
        name: ``torchvision/NAME``.

    Returns:
        Name to tensor; fetched once, into torchvision's cache.

    Raises:
        UserError: they cannot be fetched, or the file is damaged.
    """
    weights = library("torchvision.models").get_model_weights(name.removeprefix(TORCHVISION))
    try:
        with quiet_downloads():
            return weights.DEFAULT.get_state_dict(progress=True, check_hash=True)
    except Exception as error:  # of the network connection or the file: any type
        raise no_weights(name, error) from None


def load_whole(name: str, network: nn.Module, published: dict[str, Any]) -> None:
    """Load published weights including the head, or raise a ``UserError`` if they differ."""
    try:
        network.load_state_dict(published)
    except RuntimeError as error:
        raise no_weights(name, error) from None


def load_but_the_head(
    name: str, network: nn.Module, published: dict[str, Any], num_published: int, num_classes: int
) -> None:
    """Load published weights into a network whose head may have another number of classes.

    Args:
        name: name of the network, for errors.
        network: changed in place.
        published: state dict of the published weights.
        num_published: number of classes of the published head.
        num_classes: number of classes of the network's head.

    Raises:
        UserError: any other tensor is missing, surplus or of another shape.
    """
    own = network.state_dict()
    for key in [*own, *(key for key in published if key not in own)]:
        if key not in own or key not in published:
            where = "the weights" if key in own else "the network"
            raise UserError(
                f"task.network.pretrained: the weights of {name!r} do not fit: "
                f"no {key!r} in {where}"
            )
        expected, found = tuple(own[key].shape), tuple(published[key].shape)
        is_head = expected[:1] == (num_classes,) and found[:1] == (num_published,)
        if expected != found and is_head and expected[1:] == found[1:]:
            published = {**published, key: own[key]}
        elif expected != found:
            raise UserError(
                f"task.network.pretrained: the weights of {name!r} do not fit: {key!r} has "
                f"shape {found}, but {expected} in the network"
            )
    network.load_state_dict(published)


def _torchvision_names() -> list[str]:
    models = library("torchvision.models")
    return [name for name in models.list_models(module=models) if name not in TWO_HEADED]


def no_weights(name: str, error: Exception) -> UserError:
    """Make the error for weights that cannot be fetched or do not fit."""
    field = "task.network.pretrained"
    if not isinstance(error, OSError):  # raised by a failed connection or an incomplete cache
        return UserError(f"{field}: the weights of {name!r} do not fit: {in_one_line(error)}")
    cache = "torch" if name.startswith(TORCHVISION) else "huggingface"
    return UserError(
        f"{field}: the weights of {name!r} are not in ~/.cache/{cache} and could not be fetched: "
        f"{in_one_line(error)}"
    )


@contextmanager
def quiet_downloads() -> Iterator[None]:
    """Silence the Hub's log, which has a line for every retry without a connection."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
