"""Trained checkpoints: collected from a task or imported from a folder, in one format."""
