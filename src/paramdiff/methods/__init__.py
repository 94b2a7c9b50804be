"""Methods: ways from a zoo to new parameter vectors.

The functions on state dicts load when first used and need torch and safetensors alone::

    from paramdiff.methods import average
    network.load_state_dict(average(["epoch8.safetensors", "epoch9.safetensors"]))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paramdiff.methods.state_dict_averages import average as average
    from paramdiff.methods.state_dict_averages import decayed as decayed
    from paramdiff.methods.state_dict_averages import ema as ema
    from paramdiff.methods.state_dict_averages import karcher_mean as karcher_mean
    from paramdiff.methods.state_dict_averages import model_stock as model_stock
    from paramdiff.methods.state_dict_averages import power_ema as power_ema
    from paramdiff.methods.state_dict_averages import slerp as slerp
    from paramdiff.methods.state_dict_averages import task_arithmetic as task_arithmetic

__all__ = (
    *("average", "ema", "power_ema", "decayed"),
    *("slerp", "karcher_mean", "task_arithmetic", "model_stock"),
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("paramdiff.methods.state_dict_averages"), name)
    raise AttributeError(f"module 'paramdiff.methods' has no attribute {name!r}")
