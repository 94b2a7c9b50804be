"""Metrics of a group of networks, one file per concept, and their registry."""
