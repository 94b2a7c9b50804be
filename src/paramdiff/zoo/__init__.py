"""Zoos: sets of checkpoints of one network, trained or imported, with their metadata."""
