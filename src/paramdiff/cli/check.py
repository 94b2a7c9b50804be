"""``paramdiff check``: its options."""

import typer

from paramdiff.cli._options import Overrides, RecipeName


def check(recipe: RecipeName, overrides: Overrides = None) -> None:
    """Resolve and validate a recipe; print it with its sizes and its cost; run nothing."""
    import paramdiff
    from paramdiff.recipe.schema import load_recipe, to_yaml

    resolved = load_recipe(recipe, overrides or [])  # before torch is loaded: errors come at once
    found = paramdiff.check(resolved)
    typer.echo(to_yaml(found.recipe), nl=False)
    for label, value in found.sizes.items():
        typer.echo(f"# {label}: {value}")
