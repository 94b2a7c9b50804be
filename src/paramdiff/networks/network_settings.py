"""Settings of a task's network."""

from pydantic import Field

from paramdiff.settings import Settings


class NetworkSettings(Settings):
    """Choice of a network."""

    name: str = Field(
        description="a built-in network, a name of timm, torchvision/NAME, or your own "
        "module:function or path/to/file.py:function"
    )
    pretrained: bool = Field(False, description="start from the weights of timm or torchvision")
