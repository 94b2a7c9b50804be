"""``paramdiff push``: its options."""

from pathlib import Path
from typing import Annotated

import typer

from paramdiff.cli._console import say


def push(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|PIPELINE", help="A run's folder, or a pipeline's.")
    ],
    target: Annotated[str, typer.Argument(help="owner/name on the Hub, or a new folder.")],
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody see it; private by default.")
    ] = False,
) -> None:
    """Give a pipeline away with its card: to the Hugging Face Hub, or to a folder."""
    import paramdiff

    say(f"Pipeline: {paramdiff.push(source, target, public=public)}")
