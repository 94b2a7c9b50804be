"""The command line; ``main`` is the entry point."""

from paramdiff.cli.app import main

__all__ = ["main"]
