"""Permutation symmetries of networks, and the alignment of zoos by them."""
