"""CNNMedium: the three-layer convolutional network of the paper's MNIST and SVHN experiments.

It is the network of the model zoos of Schuerholt et al., "Model zoos: a dataset of diverse
populations of neural network models" (2022), for colour images: 10,853 parameters for 10 classes.
Grey images are repeated in all three channels.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class CNNMedium(nn.Module):
    """Images of 32x32 pixels to logits.

    Args:
        num_classes: ``K``.
        in_channels: 3, or 1 for grey images; the count of parameters is the same.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.num_copies = 3 // in_channels
        self.conv1 = nn.Conv2d(3, 16, 3)
        self.conv2 = nn.Conv2d(16, 32, 3)
        self.conv3 = nn.Conv2d(32, 15, 3)
        self.fc1 = nn.Linear(60, 20)
        self.fc2 = nn.Linear(20, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, in_channels, 32, 32]`` to logits ``[B, K]``."""
        x = images.repeat(1, self.num_copies, 1, 1)
        x = F.leaky_relu(F.max_pool2d(self.conv1(x), 2))
        x = F.leaky_relu(F.max_pool2d(self.conv2(x), 2))
        x = F.leaky_relu(F.max_pool2d(self.conv3(x), 2))
        return self.fc2(F.leaky_relu(self.fc1(x.flatten(1))))
