"""A small perceptron for examples that are vectors."""

from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 32


class MLP(nn.Module):
    """Two hidden layers with layer normalisation.

    Args:
        num_features: length of an example.
        num_classes: ``K``.
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(num_features, WIDTH)
        self.norm1 = nn.LayerNorm(WIDTH)
        self.fc2 = nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.fc3 = nn.Linear(WIDTH, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors ``[B, num_features]`` to logits ``[B, K]``."""
        x = F.relu(self.norm1(self.fc1(x)))
        x = F.relu(self.norm2(self.fc2(x)))
        return self.fc3(x)
