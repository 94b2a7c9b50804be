"""Facts of a recipe: the task data that its generators use, and how networks are made."""

from paramdiff.diffusion.diffusion_settings import DiffusionSettings
from paramdiff.methods.data_use import DataBudget
from paramdiff.recipe.schema import Recipe


def data_budget(recipe: Recipe) -> DataBudget | None:
    """Return the training examples that each generator of a recipe uses; None if it uses none."""
    uses = recipe.codec.learns_from
    return None if uses is None else DataBudget(recipe.codec.examples_seen, uses)


def recipe_facts(recipe: Recipe, latent_dim: int) -> dict[str, str]:
    """Describe how a recipe makes networks.

    Args:
        recipe: a resolved recipe.
        latent_dim: of the trained codec; it may depend on the zoo.

    Returns:
        Label to value.
    """
    generation = recipe.generation
    steps = (
        f"{generation.num_inference_steps} steps of {generation.solver}, "
        if recipe.diffusion
        else ""
    )
    return {
        "Preset": recipe.preset,
        "Codec": f"{recipe.codec.kind}, latent of {latent_dim}",
        **_training_data(recipe),
        "Denoiser": _denoiser(recipe.diffusion),
        **_conditions(recipe),
        "Generation": f"{generation.num_samples} networks, {steps}"
        f"temperature {generation.temperature:g}, seeds from {generation.seed}",
        "Seeds": f"zoo {recipe.seed}, generator {', '.join(map(str, recipe.generator_seeds))}",
    }


def _training_data(recipe: Recipe) -> dict[str, str]:
    """Describe the task data that the generator saw; empty if it saw none."""
    budget = data_budget(recipe)
    return {} if budget is None else {"The codec learned from": budget.use.in_words}


def _conditions(recipe: Recipe) -> dict[str, str]:
    """Describe the denoiser's conditions and the given ones; empty if it has none."""
    if recipe.diffusion is None or not recipe.diffusion.conditions:
        return {}
    told = (
        f"{', '.join(recipe.diffusion.conditions)}; left out with probability "
        f"{recipe.diffusion.condition_dropout:g}"
    )
    asked = ", ".join(f"{name}={value}" for name, value in recipe.generation.condition.items())
    scale = f"guidance scale {recipe.generation.guidance_scale:g}"
    return {"Conditions": told, "Asked for": f"{asked}, {scale}" if asked else "nothing"}


def _denoiser(settings: DiffusionSettings | None) -> str:
    if settings is None:
        return "none: latents are drawn from N(0, I)"
    training = settings.training
    most = "at most " if settings.early_stopping else ""
    return (
        f"{settings.denoiser.kind}, {most}{training.num_updates} updates, "
        f"T = {settings.schedule.num_timesteps}"
    )
