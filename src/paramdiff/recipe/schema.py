"""The resolved recipe, and how a file is resolved.

Values come from layers, each over the one before: the preset that the recipe names, the recipe
that it ``extends`` (one level), its own keys, and ``--set path=value``. An ablation's factors can
be applied to another base. The recipe beside a result has every value and extends nothing. Codec,
diffusion and solver values belong to the preset that the file names; ``--set preset=`` another
drops them.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, model_validator

from paramdiff.codecs.registry import AnyCodecSettings
from paramdiff.diffusion.diffusion_settings import (
    KNOWN_CONDITIONS,
    DiffusionSettings,
    GenerationSettings,
    check_num_inference_steps,
)
from paramdiff.errors import UserError, suggestion
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.parameters.parameter_settings import ParameterSettings
from paramdiff.recipe.differences import OWN, check_factors
from paramdiff.recipe.error_messages import explain, renamed
from paramdiff.recipe.loading import (
    is_preset_value,
    merge,
    nested,
    parse_overrides,
    read,
    read_preset,
    without_preset_values,
)
from paramdiff.settings import Seed, Settings, load
from paramdiff.storage import StrPath
from paramdiff.tasks.task_settings import TaskSettings
from paramdiff.zoo.zoo_settings import CollectionSettings


def _as_tuple(value: Any) -> Any:
    return (str(value),) if isinstance(value, str | Path) else value


class FolderSettings(Settings):
    """A zoo of existing checkpoints."""

    kind: Literal["folder"]
    checkpoints: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        min_length=1,
        description="files, folders (one sub-folder per run), globs, or owner/name@revision",
    )
    base_checkpoint: Path | None = Field(
        None, description="complete checkpoint for the tensors that are not selected"
    )
    state_dict_key: str | None = Field(
        None, description="key of the state dict in files that hold several"
    )
    num_held_out: int = Field(0, ge=0, description="checkpoints that train nothing")
    hold_out: Literal["end", "spaced"] = Field(
        "end",
        description="which: the last ones, of one run or several, or evenly spaced ones",
    )


ZooSettings = Annotated[CollectionSettings | FolderSettings, Field(discriminator="kind")]


class Recipe(Settings):
    """Everything that determines a run."""

    name: str = Field(description="what the run is called")
    description: str = Field("", description="one-line description")
    preset: Literal["default", "paper"] = Field(
        "default", description="where codec, diffusion and generation values come from"
    )
    seed: Seed = Field(0, description="of the zoo, and of what has no seed of its own")
    generator_seeds: tuple[Seed, ...] = Field(
        (),
        description="of the generator: a codec and a denoiser are trained for each, and what they "
        "generate is pooled; by default the recipe's seed alone",
    )
    task: TaskSettings | None = Field(
        description="data and network; null if existing checkpoints are not evaluated"
    )
    collection: ZooSettings = Field(description="where the checkpoints come from")
    parameters: ParameterSettings = Field(description="what is generated")
    codec: AnyCodecSettings = Field(description="vector to latent and back")
    diffusion: DiffusionSettings | None = Field(
        description="denoiser and forward process; none decodes latents drawn from N(0, I), as "
        "from a VAE, given the originals' mean and spread where the codec does not whiten them, "
        "and takes no solver steps"
    )
    generation: GenerationSettings = Field(description="how networks are generated")
    evaluation: EvaluationSettings = Field(
        EvaluationSettings(), description="how they are compared"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_generator_by_default(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("generator_seeds") in (None, [], ()):
            return content | {"generator_seeds": [content.get("seed", 0)]}
        return content

    @model_validator(mode="after")
    def _training_needs_a_task(self) -> "Recipe":
        if self.task is None and self.collection.kind == "train":
            raise ValueError("task: data and a network are needed to train checkpoints on")
        return self

    @model_validator(mode="after")
    def _generators_differ(self) -> "Recipe":
        if len(set(self.generator_seeds)) < len(self.generator_seeds):
            raise ValueError(
                f"generator_seeds: the seeds must differ, but are {list(self.generator_seeds)}"
            )
        return self

    @model_validator(mode="after")
    def _solver_can_take_the_steps(self) -> "Recipe":
        if self.diffusion is not None:
            solver, num_inference_steps = (
                self.generation.solver,
                self.generation.num_inference_steps,
            )
            check_num_inference_steps(
                solver, self.diffusion.schedule.num_timesteps, num_inference_steps
            )
        return self

    @model_validator(mode="after")
    def _conditions_can_be_known(self) -> "Recipe":
        names = () if self.diffusion is None else self.diffusion.conditions
        if "score" in names and self.task is None:
            raise ValueError(
                "diffusion.conditions: score: this needs a task, and the recipe has none"
            )
        source = self.collection
        for name in names:
            if source.kind == "train" and name not in KNOWN_CONDITIONS:
                if name == "accuracy":
                    raise ValueError("diffusion.conditions: 'accuracy' is now called 'score'")
                raise ValueError(
                    f"diffusion.conditions: {name!r} is unknown of checkpoints that are trained; "
                    f"{suggestion(name, KNOWN_CONDITIONS)}"
                )
        if "run" in names and source.kind == "train" and source.num_runs < 3:
            raise ValueError(
                "diffusion.conditions: run: this needs collection.num_runs of at least 3, two to "
                f"tell apart and one held out, not {source.num_runs}"
            )
        return self

    @model_validator(mode="after")
    def _asks_for_what_is_conditional(self) -> "Recipe":
        names = () if self.diffusion is None else self.diffusion.conditions
        for name in self.generation.condition:
            if name not in names:
                known = ", ".join(names) or "none"
                raise ValueError(
                    f"generation.condition: {name!r} is not among diffusion.conditions ({known})"
                )
        if self.generation.guidance_scale != 1 and not names:
            raise ValueError(
                "generation.guidance_scale: this has no effect without diffusion.conditions"
            )
        return self

    def of_generator(self, number: int) -> "Recipe":
        """Return the recipe of one of the generators, with its own seed and sample seeds."""
        generation = self.generation
        first = generation.seed + number * generation.num_samples
        return self.model_copy(
            update={
                "generator_seeds": (self.generator_seeds[number],),
                "generation": generation.model_copy(update={"seed": first}),
            }
        )


def load_recipe(
    source: StrPath, overrides: Sequence[str] = (), base: StrPath | None = None
) -> Recipe:
    """Read and resolve a recipe.

    Args:
        source: a YAML file, or the name of a shipped recipe.
        overrides: ``path=value``, the value in YAML.
        base: recipe to which an ablation applies its factors' values, and nothing else, instead of
            the recipe that it extends. It has no effect on other recipes.

    Returns:
        The recipe with every value filled.

    Raises:
        UserError: the file is missing or malformed, a key is unknown (with the nearest valid one),
            a value has the wrong type or is out of bounds, or an ablation's ``factors`` are not
            what it changes.
    """
    content, factors = _read(source)
    if isinstance(overrides, str):
        raise UserError(f"overrides: {overrides!r} is not a list of path=value")
    changes = parse_overrides(overrides)
    rebased = base if factors else None
    if rebased is not None:
        content = _read(rebased)[0] | {key: content[key] for key in OWN if key in content}
    named = content.get("preset", "default")
    if changes.get("preset", named) != named:
        if rebased is None:
            _refuse_lost_factors(factors, named, source)
        content = without_preset_values(content)
    where = source
    if rebased is not None:
        content = merge(content, nested(factors))
        where = f"{source} on {rebased}"
    return _resolve(merge(content, changes), where)


def resolve_recipe(content: dict, overrides: Sequence[str], where: str) -> Recipe:
    """Resolve a recipe that a program wrote, over the default preset.

    Args:
        content: its keys and values.
        overrides: ``path=value``, the value in YAML.
        where: its name in an error.

    Returns:
        The recipe with every value filled.

    Raises:
        UserError: see ``load_recipe``.
    """
    return _resolve(merge(content, parse_overrides(overrides)), where)


def load_factors(source: StrPath) -> dict[str, Any]:
    """Return the fields that an ablation changes.

    Args:
        source: a YAML file, or the name of a shipped recipe.

    Returns:
        Dotted path to value; empty for a recipe that extends none.

    Raises:
        UserError: see ``load_recipe``.
    """
    return _read(source)[1]


def to_yaml(recipe: Recipe) -> str:
    """Format the resolved recipe as YAML, in the order of its fields."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read(source: StrPath) -> tuple[dict, dict[str, Any]]:
    """Read a recipe file over the one that it extends, and its factors with their values."""
    content = read(source)
    if "extends" not in content:
        if "factors" in content:
            raise UserError(f"{source}: factors: these belong beside extends only")
        return content, {}
    extends, listed = content.pop("extends"), content.pop("factors", None)
    if not isinstance(extends, str):
        raise UserError(f"{source}: extends: {extends!r} is not the name of a recipe")
    base = read(extends, beside=source)
    if "extends" in base:
        raise UserError(
            f"{source}: extends: {extends} extends {base['extends']} itself; one level is allowed"
        )
    content = merge(base, content)
    dumped, ablated = (
        _resolve(layer, where).model_dump(mode="json")
        for layer, where in ((base, extends), (content, source))
    )
    try:
        return content, check_factors(listed, dumped, ablated, extends)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def _refuse_lost_factors(factors: dict[str, Any], preset: str, source: StrPath) -> None:
    """Refuse a preset with which an ablation would silently become its base."""
    for path in factors:
        if is_preset_value(path):
            raise UserError(
                f"{source}: preset: this ablation varies {path}, a value over the preset "
                f"{preset!r}; with another preset, none of its change would remain"
            )


def _resolve(content: dict, where: StrPath) -> Recipe:
    """Resolve a recipe from its own keys and the preset that they name."""
    old = renamed(content)
    if old is not None:
        raise UserError(f"{where}: {old}")
    content = merge(read_preset(content.get("preset", "default")), content)
    return load(Recipe, content, where, partial(explain, root=Recipe))
