"""Checkpoints of any origin: discovery, order, safe reading, and writing in the same format."""
