"""The command line; ``main`` is the entry point."""

from paramdiff.cli._app import main

__all__ = ["main"]
