"""A wrong recipe as one line that names the field, and the newer names of old keys."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic.fields import FieldInfo

from paramdiff.errors import nearest, suggestion
from paramdiff.registry import OneOfKinds
from paramdiff.settings import Settings

MOST_SHOWN = 3
CLEARLY = 0.1
"""Additional likeness, of 1, from which a key of another part is suggested instead."""

RENAMED_KEYS = {
    "seeds": "generator_seeds",
    "task.standardise": "task.standardize",
    "collection.base": "collection.base_checkpoint",
    "collection.entry": "collection.state_dict_key",
    "collection.skip_steps_per_pass": "collection.skip_steps_per_epoch",
    "collection.pretraining.optimiser": "collection.pretraining.optimizer",
    "collection.fine_tuning.optimiser": "collection.fine_tuning.optimizer",
    "parameters.normalisation": "parameters.normalization",
    "codec.behaviour": "codec.behavior",
    "codec.behavior.training.optimiser": "codec.behavior.training.optimizer",
    "codec.training.optimiser": "codec.training.optimizer",
    "diffusion.schedule.target": "diffusion.schedule.prediction_type",
    "diffusion.standardise": "diffusion.standardize",
    "diffusion.training.optimiser": "diffusion.training.optimizer",
    "generation.num_steps": "generation.num_inference_steps",
    "generation.spread": "generation.temperature",
}
"""Keys of earlier versions, as dotted paths, and what they are called now."""
RENAMED_VALUES = {
    "parameters.normalization": {"centred": "centered"},
    "codec.kind": {
        "linear": "pca",
        "convolutional": "autoencoder",
        "corrected": "behavioral",
    },
    "diffusion.denoiser.kind": {"convolutional": "conv1d"},
    "diffusion.schedule.prediction_type": {"noise": "epsilon", "velocity": "v_prediction"},
    "generation.solver": {"dpm": "dpmsolver++"},
}
"""Values of earlier versions, by the key's present path, and what they are called now."""


def renamed(content: Mapping[Any, Any], path: str = "") -> str | None:
    """Return one line on the first key or value of an earlier version; None if there is none.

    Args:
        content: a recipe's keys and values, or a part of them.
        path: of the part.

    Returns:
        The old name and the present one.
    """
    for key, value in content.items():
        field = f"{path}.{key}".lstrip(".")
        present = RENAMED_KEYS.get(field, field)
        names = RENAMED_VALUES.get(present, {})
        old = [one for one in (value if isinstance(value, list) else [value]) if one in [*names]]
        if present != field:
            also = f", and its value {old[0]!r} is called {names[old[0]]!r}" if old else ""
            return f"{field}: this key is now called {present}{also}"
        if old:
            return f"{field}: {old[0]!r} is now called {names[old[0]]!r}"
        found = renamed(value, field) if isinstance(value, Mapping) else None
        if found is not None:
            return found
    return None


def present_override(override: str) -> str:
    """Replace an earlier version's key, or its value, in ``path=value``."""
    path, separator, value = override.partition("=")
    field = RENAMED_KEYS.get(path, path)
    return f"{field}{separator}{RENAMED_VALUES.get(field, {}).get(value, value)}"


def explain(error: Any, root: type[Settings]) -> str:
    """Describe a validation error in one line.

    Args:
        error: one of ``ValidationError.errors()``.
        root: the settings class that was validated.

    Returns:
        The dotted path of the field and what is wrong with it; for an unknown key, also the
        nearest valid one.
    """
    path = ".".join(_walk(error["loc"], root)[0])
    if error["type"] == "extra_forbidden":
        reached = _walk(error["loc"][:-1], root)[1]
        valid = [name for kind in reached for name in kind.model_fields]
        return f"{path}: unknown key; {_nearest(str(error['loc'][-1]), valid, root)}"
    if error["type"] == "missing":
        return f"{path}: this value is missing"
    if error["type"] == "union_tag_invalid":
        kind, known = error["ctx"]["tag"], re.findall(r"'([^']+)'", error["ctx"]["expected_tags"])
        return f"{path}.kind: unknown kind {kind!r}; {suggestion(kind, known)}"
    if error["type"] == "value_error":
        message = error["msg"].removeprefix("Value error, ")
        if not path:
            return message
        # a check of several fields begins with the one to mend
        return f"{path}.{message}" if re.match(r"[\w.]+: ", message) else f"{path}: {message}"
    return f"{path}: {error['msg'].lower()}, found {error['input']!r}"


def _nearest(key: str, valid: Sequence[str], root: type[Settings]) -> str:
    """Suggest the nearest key of this part or, if they are much nearer, those of other parts."""
    elsewhere: dict[str, list[str]] = {}
    for path in dict.fromkeys(_paths(root)):
        elsewhere.setdefault(path.rpartition(".")[2], []).append(path)
    near, far = nearest(key, valid), nearest(key, elsewhere)
    if far is None:
        return suggestion(key, valid)
    if near is not None and _likeness(key, near) + CLEARLY >= _likeness(key, far):
        return f"the nearest valid one is {near!r}"
    shown = " and ".join(repr(path) for path in elsewhere[far][:MOST_SHOWN])
    return f"the nearest valid {'one is' if len(elsewhere[far]) == 1 else 'ones are'} {shown}"


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, one).ratio()  # as get_close_matches compares


def _paths(kind: type[Settings], prefix: str = "") -> Iterator[str]:
    """List every dotted path of a settings class."""
    for name, field in kind.model_fields.items():
        yield f"{prefix}{name}"
        for part in _settings_of(field):
            yield from _paths(part, f"{prefix}{name}.")


def _walk(
    location: Sequence[int | str], root: type[Settings]
) -> tuple[list[str], list[type[Settings]]]:
    """Follow the location of a validation error.

    Args:
        location: ``loc`` of the error.
        root: the settings class that was validated.

    Returns:
        The path as a user writes it, and the settings classes that it may lead to. The location
        also contains the kinds of parts, which are not written.
    """
    written, kinds = [], [root]
    for part in location:
        tagged = [kind for kind in kinds if part in _kinds_of(kind)]
        if tagged:
            kinds = tagged
            continue
        written.append(str(part))
        kinds = [
            found
            for kind in kinds
            if part in kind.model_fields
            for found in _settings_of(kind.model_fields[str(part)])
        ]
    return written, kinds


def _kinds_of(kind: type[Settings]) -> tuple:
    return get_args(kind.model_fields["kind"].annotation) if "kind" in kind.model_fields else ()


def _settings_of(field: FieldInfo) -> Iterator[type[Settings]]:
    registered = [one for one in field.metadata if isinstance(one, OneOfKinds)]
    for one in registered:
        yield from one.classes
    if not registered:
        yield from _settings_in(field.annotation)


def _settings_in(annotation: Any) -> Iterator[type[Settings]]:
    arguments = get_args(annotation)  # Python 3.10 takes tuple[str, ...] for a class, too
    if not arguments and isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for argument in arguments:
        yield from _settings_in(argument)
