"""Network architectures by name: built-in, from timm and torchvision, and user-defined."""
