"""Measurements of paramdiff, run by hand: ``python -m benchmarks.NAME``."""
