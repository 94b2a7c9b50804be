"""The run file: YAML to an immutable, fully resolved ``Recipe``.

Values come from three layers, each over the one before: the preset that the recipe names, the
recipe's own keys, and ``--set path=value``. What is written beside a result has every value.
"""

import difflib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from paramdiff.codec.training import CodecSettings
from paramdiff.diffusion.schedule import check_num_steps
from paramdiff.diffusion.training import DiffusionSettings
from paramdiff.errors import UserError
from paramdiff.evaluation.evaluate import EvaluationSettings
from paramdiff.parameters.space import ParameterSettings
from paramdiff.pipeline import GenerationSettings
from paramdiff.settings import Settings
from paramdiff.tasks.catalogue import TaskSettings
from paramdiff.zoo.settings import CollectionSettings

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable  # Python 3.11

SHIPPED = files("paramdiff") / "recipes"


class FolderSettings(Settings):
    """A zoo from a folder of existing checkpoints."""

    kind: Literal["folder"]
    path: Path = Field(description="checkpoints, or one sub-folder of checkpoints per run")
    base: Path | None = Field(None, description="complete checkpoint for what is not selected")
    num_held_out: int = Field(0, ge=0, description="checkpoints of the tail that train nothing")


ZooSettings = Annotated[CollectionSettings | FolderSettings, Field(discriminator="kind")]


class Recipe(Settings):
    """Everything that determines a run."""

    name: str = Field(description="what the run is called")
    description: str = Field("", description="one line for people")
    preset: Literal["default", "paper"] = Field(
        "default", description="where codec, diffusion and generation values come from"
    )
    seed: int = Field(0, ge=0, description="of training: zoo, codec and denoiser")
    task: TaskSettings = Field(description="data and network")
    collection: ZooSettings = Field(description="where the checkpoints come from")
    parameters: ParameterSettings = Field(description="what is generated")
    codec: CodecSettings = Field(description="vector to latent and back")
    diffusion: DiffusionSettings = Field(description="denoiser and forward process")
    generation: GenerationSettings = Field(description="how networks are generated")
    evaluation: EvaluationSettings = Field(
        EvaluationSettings(), description="how they are compared"
    )

    @model_validator(mode="after")
    def _solver_can_take_the_steps(self) -> "Recipe":
        solver, num_steps = self.generation.solver, self.generation.num_steps
        check_num_steps(solver, self.diffusion.schedule.num_timesteps, num_steps)
        return self


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and resolve a recipe.

    Args:
        source: a YAML file, or the name of a shipped recipe.
        overrides: ``path=value``, the value in YAML.

    Returns:
        The recipe with every value filled.

    Raises:
        UserError: the file is missing or malformed, a key is unknown (with the nearest valid one),
            a value has the wrong type or is out of bounds.
    """
    content = _read(source)
    changes: dict[str, Any] = {}
    for override in overrides:
        path, separator, value = override.partition("=")
        if not separator:
            raise UserError(f"--set: expected path=value, found {override!r}")
        try:
            _assign(changes, path.split("."), yaml.safe_load(value))
        except yaml.YAMLError:
            raise UserError(f"--set {path}: expected a YAML value, found {value!r}") from None
    preset = changes.get("preset", content.get("preset", "default"))
    layer = SHIPPED / "presets" / f"{preset}.yaml"
    if layer.is_file():
        content = _merge(yaml.safe_load(layer.read_text(encoding="utf-8")), content)
    content = _merge(content, changes)
    return validate(content, str(source))


def validate(content: dict, where: str) -> Recipe:
    """A recipe from a complete mapping; errors name the field.

    Args:
        content: keys and values, presets merged.
        where: how to name the source in an error.

    Returns:
        The recipe.

    Raises:
        UserError: see ``load_recipe``.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(error.errors()[0])}") from None


def to_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML, in the order of its fields."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def shipped_recipes() -> "dict[str, Traversable]":
    """The shipped recipes by name; sub-folders are part of the name."""
    return dict(sorted(_walk(SHIPPED, "")))


def first_difference(one: Any, other: Any, path: str = "") -> str | None:
    """The dotted path of the first field in which two dumped recipes differ, with both values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            found = first_difference(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))
            if found:
                return found
        return None
    return None if one == other else f"{path}: {one!r} there, {other!r} here"


def _walk(folder: "Traversable", prefix: str) -> "Iterator[tuple[str, Traversable]]":
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "presets":
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield prefix + entry.name.removesuffix(".yaml"), entry


def _read(source: str | Path) -> dict:
    path = Path(source)
    shipped = shipped_recipes()
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif str(source) in shipped:
        text = shipped[str(source)].read_text(encoding="utf-8")
    else:
        near = difflib.get_close_matches(str(source), shipped, n=1, cutoff=0.0)
        raise UserError(
            f"{source}: expected a recipe file or a shipped recipe; the nearest is {near[0]!r}"
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{source}: no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{source}: expected keys and values, found {type(content).__name__}")
    return content


def _assign(content: dict, path: list[str], value: Any) -> None:
    for key in path[:-1]:
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise UserError(f"--set {'.'.join(path)}: {key!r} has a value and no fields")
    content[path[-1]] = value


def _merge(below: dict, above: dict) -> dict:
    """``above`` over ``below``; a part of another kind replaces the one below whole."""
    if "kind" in above and above["kind"] != below.get("kind"):
        return above
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = _merge(below[key], value) if both else value
    return merged


def _explain(error: Any) -> str:
    location = [part for part in error["loc"] if part not in ("linear", "convolutional", "mlp")]
    location = [part for part in location if part not in ("train", "folder")]
    path = ".".join(map(str, location))
    if error["type"] == "extra_forbidden":
        valid = _fields_at(error["loc"][:-1])
        near = difflib.get_close_matches(str(location[-1]), valid, n=1, cutoff=0.0)
        return f"{path}: unknown key; the nearest valid one is {near[0]!r}"
    if error["type"] == "missing":
        return f"{path}: expected a value, found none"
    if error["type"] == "value_error":
        message = error["msg"].removeprefix("Value error, ")
        return f"{path}.{message}" if path else message
    return f"{path}: {error['msg'].lower()}, found {error['input']!r}"


def _fields_at(location: Sequence[int | str]) -> list[str]:
    """The valid keys of the settings class at a location of a validation error."""
    kinds: list[type[Settings]] = [Recipe]
    for part in location:
        tagged = [kind for kind in kinds if part in _tags(kind)]
        kinds = tagged or [
            found
            for kind in kinds
            if part in kind.model_fields
            for found in _settings_in(kind.model_fields[str(part)].annotation)
        ]
    return [name for kind in kinds for name in kind.model_fields]


def _tags(kind: type[Settings]) -> tuple:
    return get_args(kind.model_fields["kind"].annotation) if "kind" in kind.model_fields else ()


def _settings_in(annotation: Any) -> Iterator[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for argument in get_args(annotation):
        yield from _settings_in(argument)
