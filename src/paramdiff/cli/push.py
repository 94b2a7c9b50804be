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
        bool, typer.Option("--public", help="Make the repository public; private by default.")
    ] = False,
) -> None:
    """Publish a pipeline with its card on the Hugging Face Hub, or copy it to a folder."""
    import paramdiff

    say(f"Pipeline: {paramdiff.push(source, target, public=public)}")
