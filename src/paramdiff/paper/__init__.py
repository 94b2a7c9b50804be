"""Reproduction of the paper: its tasks, recipes, tables, figures and published numbers."""
