"""The reproduction of the paper: its tasks, tables, figures and published numbers."""
