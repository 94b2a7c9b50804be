"""The processes of one launch, which train the codec and the denoiser together.

Every process that ``torchrun`` or ``accelerate launch`` starts runs the same program. The first,
the main process, does everything but that training alone, and only it writes; the others wait for
it and read what it wrote. Without a launcher there is one process, and nothing waits.
"""

import os
from datetime import timedelta

import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from torch.distributed import PrefixStore, Store, TCPStore, is_initialized

from paramdiff.errors import UserError

PATIENCE = timedelta(days=365)
"""How long processes wait for the main one: collecting a zoo may take days. They do not wait for a
process that died, because its connections break and the launcher ends the others."""


def join(device: torch.device) -> PartialState:
    """Meet the other processes of the launch.

    Args:
        device: what all of them compute on.

    Returns:
        Which process this is, of how many, and how they wait for each other.
    """
    _leave_other_device(device)
    where = {} if is_initialized() else _meeting_place()
    return PartialState(cpu=device.type == "cpu", timeout=PATIENCE, **where)


def _leave_other_device(device: torch.device) -> None:
    """Forget the device that this program computed on before, where it is alone.

    accelerate keeps the first: on a second it would raise, or leave networks on the first.
    """
    if PartialState._shared_state:
        before = PartialState()
        if before.num_processes == 1 and before.device.type != device.type:
            AcceleratorState._reset_state(reset_partial_state=True)


def _meeting_place() -> dict[str, Store | int]:
    """Where processes of a launch tell each other their addresses.

    ``torchrun`` keeps one store for all that it starts, those that it starts again after a death
    (``--max-restarts``) among them, which would wait for the addresses of the dead. So each start
    has names of its own there.
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
    """Refuse work that processes of one launch would do over each other.

    Args:
        device: see ``join``.
        work: what it is, for the message.
        why: the end of the message.

    Raises:
        UserError: there is more than one process.
    """
    processes = join(device)
    if processes.num_processes > 1:
        raise UserError(f"{work}: expected one process, found {processes.num_processes}; {why}")


def own_share(batch_size: int, device: torch.device, where: str) -> slice:
    """This process' rows of a batch that all of them draw alike.

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
            f"{where}: expected a multiple of the {processes.num_processes} processes, "
            f"found {batch_size}"
        )
    return slice(processes.process_index * size, (processes.process_index + 1) * size)
