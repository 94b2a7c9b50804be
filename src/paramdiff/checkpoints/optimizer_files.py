"""Files of a training beside the weights, by name: optimizers, schedulers, random states.

Names are those of transformers' Trainer, accelerate (``optimizer_1.bin``), DeepSpeed, BasicSR and
guided-diffusion (``opt010000.pt``), and of training loops that write ``optimizer_epoch3.pt``.
"""

import re

_KINDS = (
    r"optimi[sz]ers?(?:_states?)?",
    r"optim(?:_states?)?",
    r"(?:lr_?)?schedulers?",
    r"(?:grad_?|loss_?|amp_?)?scaler",
    r"rng(?:_states?)?",
    r"random_states?",
    r"train(?:er|ing)?_(?:states?|args)",
    r"(?:data_?)?sampler",
    r"data_?loader|dl_state_dict",
    r"custom_checkpoint",
)
_COUNT = r"(?:[-_.=]?(?:global_?step|step|epoch|iter|rank)?[-_.=]?\d+)*"
_STATE = re.compile(rf"(?:.*[-_.])?(?:{'|'.join(_KINDS)}){_COUNT}|opt[-_.]?\d*")
_WEIGHTS = re.compile(r"model(?!_states)|net(?![a-z])|weights")
_ZERO_SHARD = re.compile(r"(?:bf16_|fp16_)?zero_pp_rank_\d+_.*states?")


def is_optimizer_file(name: str) -> bool:
    """Check by its name if a file or folder holds an optimizer, or other state of a training.

    Args:
        name: file name with suffix.

    Returns:
        False for a name that mentions weights, too (``model_and_optimizer.pt``).
    """
    lower = name.lower()
    stems = {lower.rpartition(".")[0] or lower, re.split(r"\.(?=[a-z])", lower)[0]}
    return any(_STATE.fullmatch(stem) and not _WEIGHTS.search(stem) for stem in stems)


def is_zero_shard(name: str) -> bool:
    """Check if a name is DeepSpeed's for one process's part of weights or optimizer."""
    return _ZERO_SHARD.match(name.lower()) is not None
