"""Numbers of an evaluation for tables and figures."""

from ..report.conftest import evaluation

__all__ = ["evaluation"]
