"""The base of every settings class, strict and immutable, and how data from a file become one.

A recipe is a tree of settings; each is defined beside the component that it configures.
"""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from paramdiff.errors import UserError

HIGHEST_SEED = 2**32 - 1
"""The highest seed that every library takes."""
LONGEST_VALUE = 60
"""Characters of a wrong value that an error shows."""

Seed = Annotated[int, Field(ge=0, le=HIGHEST_SEED)]
Model = TypeVar("Model", bound=BaseModel)


class Settings(BaseModel):
    """Settings that refuse unknown keys and cannot change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def load(
    model: type[Model],
    data: Any,
    where: object,
    explain: Callable[[Any], str] | None = None,
) -> Model:
    """Validate data that come from a file.

    Args:
        model: class of the result.
        data: parsed values, or the bytes of a JSON text.
        where: the file, or another name for the data, which begins the error.
        explain: describes the first mistake, one of ``ValidationError.errors()``; by default
            ``first_mistake``.

    Returns:
        The validated object.

    Raises:
        UserError: a value is missing, unknown or wrong; one line names the first such field.
    """
    try:
        if isinstance(data, bytes):
            return model.model_validate_json(data)
        return model.model_validate(data)
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False)
        raise UserError(f"{where}: {(explain or first_mistake)(first)}") from None


def first_mistake(error: Any) -> str:
    """Describe a validation error in one line.

    Args:
        error: one of ``ValidationError.errors()``.

    Returns:
        The dotted path of the field, what is wrong with it, and the value that was found.
    """
    path = ".".join(str(part) for part in error["loc"])
    field = f"{path}: " if path else ""
    if error["type"] == "extra_forbidden":
        return f"{field}unknown key"
    if error["type"] == "missing":
        return f"{field}this value is missing"
    if error["type"] == "value_error":
        return field + error["msg"].removeprefix("Value error, ")
    message = error["msg"][:1].lower() + error["msg"][1:]
    if error["type"] == "json_invalid":
        return f"{field}{message}"
    return f"{field}{message}, found {_shortened(error['input'])}"


def _shortened(value: Any) -> str:
    shown = ascii(value)
    return shown if len(shown) <= LONGEST_VALUE else f"{shown[:LONGEST_VALUE]}..."
