"""The processes of one launch, which train the codec and the denoiser together.

All processes that ``torchrun`` or ``accelerate launch`` starts run the same program. Everything
but that training is done by the first, the main process, which alone writes; the others wait for
it and read its artifacts. Without a launcher there is one process, and nothing waits.
"""

import os
from datetime import timedelta

import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from torch.distributed import PrefixStore, Store, TCPStore, is_initialized

from paramdiff.errors import UserError

PATIENCE = timedelta(days=365)
"""Longest wait for the main process: collecting a zoo may take days. Nobody waits for a dead
process: its connections break, and the launcher ends the others."""


def join(device: torch.device) -> PartialState:
    """Join the other processes of the launch.

    Args:
        device: where all of them compute.

    Returns:
        The index of this process, their number, and barriers.
    """
    _leave_other_device(device)
    where = {} if is_initialized() else _meeting_place()
    return PartialState(cpu=device.type == "cpu", timeout=PATIENCE, **where)


def _leave_other_device(device: torch.device) -> None:
    """Reset accelerate's device if this program, alone, has used another one before.

    accelerate keeps the first: on a second it would raise, or leave networks on the first.
    """
    if PartialState._shared_state:
        before = PartialState()
        if before.num_processes == 1 and before.device.type != device.type:
            AcceleratorState._reset_state(reset_partial_state=True)


def _meeting_place() -> dict[str, Store | int]:
    """Return the store in which the processes of a launch exchange their addresses.

    ``torchrun`` keeps one store for all starts. Processes that it restarts after a death
    (``--max-restarts``) would wait for the addresses of dead ones, so each start has its own
    prefix.
    """
    launch = os.environ
    if launch.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or launch["WORLD_SIZE"] == "1":
        return {}
    store = TCPStore(launch["MASTER_ADDR"], int(launch["MASTER_PORT"]), timeout=PATIENCE)
    return {
        "store": PrefixStore(f"start{launch['TORCHELASTIC_RESTART_COUNT']}", store),
        "rank": int(launch["RANK"]),
        "world_size": int(launch["WORLD_SIZE"]),
    }


SHARED = "several of a launch share run, quickstart and fit"


def refuse_several(device: torch.device, work: str, why: str = SHARED) -> None:
    """Refuse work in which the processes of one launch would overwrite each other's files.

    Args:
        device: see ``join``.
        work: name of the work, for the message.
        why: the end of the message.

    Raises:
        UserError: there is more than one process.
    """
    processes = join(device)
    if processes.num_processes > 1:
        raise UserError(f"{work}: this takes one process, not {processes.num_processes}: {why}")


def own_share(batch_size: int, device: torch.device, where: str) -> slice:
    """Return this process' rows of a batch that all of them draw alike.

    Args:
        batch_size: of all processes together.
        device: see ``join``.
        where: the field that holds the batch size, for the message.

    Returns:
        Rows of equal number for each process, so that the mean over a batch is the mean of the
        processes' means.

    Raises:
        UserError: the batch cannot be divided.
    """
    processes = join(device)
    size, rest = divmod(batch_size, processes.num_processes)
    if rest:
        raise UserError(
            f"{where}: {batch_size} is not a multiple of the {processes.num_processes} processes"
        )
    return slice(processes.process_index * size, (processes.process_index + 1) * size)
