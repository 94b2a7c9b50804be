"""Permutation symmetries of networks, and zoos aligned by them."""
