"""Architectures by name: ours, those of timm and torchvision, and the user's own."""
