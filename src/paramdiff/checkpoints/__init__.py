"""Checkpoints as people keep them: found, read without running code, and written back."""
