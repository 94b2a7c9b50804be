"""The stages in order: each reads one artifact and writes one; what is whole is not made again."""

from paramdiff.runs.run import run

__all__ = ["run"]
