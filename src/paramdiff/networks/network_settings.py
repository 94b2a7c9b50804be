"""Settings of a task's network."""

from pydantic import Field

from paramdiff.settings import Settings


class NetworkSettings(Settings):
    """Which network."""

    name: str = Field(
        description="one of ours, a name of timm's, torchvision/NAME, or module:function or "
        "path/to/file.py:function of your own"
    )
    pretrained: bool = Field(False, description="start from timm's or torchvision's weights")
